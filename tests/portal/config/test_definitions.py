"""Incident definitions in the document: what they refer to is named, and must be there or in the document."""

from pathlib import Path

import pytest
from django.core.management import call_command

from monitoring.actions import catching, channels, definitions, slos, thresholds
from monitoring.models import AlertState, IncidentDefinition, Threshold
from monitoring.models.incidents import BUILT_IN
from portal.config import applying, definition_kind, kinds, reading
from portal.config.kinds import Scope
from portal.errors import Forbidden, Invalid, Refused
from rollouts.actions import flags
from rollouts.models import Flag
from tests import make
from tests.make import BY
from tests.monitoring import watching
from tests.portal.config.documents import applied, does, emptied, exported, left_out

pytestmark = pytest.mark.django_db

TEMPLATE = kinds.template("incident_definitions")
NEEDED = "".join(kinds.template(name) for name in ("services", "environments", "flags", "thresholds"))
WHOLE = f"""\
{NEEDED}
escalation_policies:
  standard:
    steps: [{{delay: 900, people: [dana]}}]
{TEMPLATE.replace("channels: []", "channels: [ops]").replace("# escalation:", "escalation:")}
  last-resort:
    name: Everything else that is critical
    rank: 200
    min_level: critical
    matchers: {{environment: staging}}
    group_by: [service]
"""


@pytest.fixture(autouse=True)
def people(db: None) -> None:
    make.person("dana")
    channels.create({"name": "ops", "kind": "webhook", "config": {"url": "https://example.com/x"}}, by=BY)


def definition(key: str = "checkout-is-slow") -> IncidentDefinition:
    return IncidentDefinition.objects.get(key=key)


def made() -> list[str]:
    """The keys of those that the portal has not made itself."""
    return list(IncidentDefinition.objects.exclude(key=BUILT_IN).values_list("key", flat=True))


def faults(text: str) -> dict[str, str]:
    with pytest.raises(Invalid) as refusal:
        applied(text)
    return refusal.value.errors


def one(fields: str) -> str:
    return f"incident_definitions: {{a: {{name: A, {fields}}}}}"


def test_all_that_is_in_one_document_may_be_named_in_it() -> None:
    applied(WHOLE)
    whole = definition()
    assert [threshold.name for threshold in whole.thresholds.all()] == ["slow checkout"]
    assert [channel.name for channel in whole.channels.all()] == ["ops"]
    assert whole.escalation is not None
    assert whole.escalation.key == "standard"
    assert whole.responses == ["kill:new-checkout@critical", "propose_set_flag:new-checkout=off"]
    assert (whole.rank, whole.severity, whole.cool_down, whole.min_level) == (10, "SEV2", 600, "error")
    assert set(does(applied(WHOLE)).values()) == {"keep"}


def test_the_template_is_applied_where_what_it_names_is_there() -> None:
    applied(NEEDED)
    assert does(applied(TEMPLATE)) == {"incident_definitions.checkout-is-slow": "create"}
    assert does(applied(TEMPLATE)) == {"incident_definitions.checkout-is-slow": "keep"}


def test_an_alert_becomes_the_incident_that_the_document_says() -> None:
    watching.place()
    clock = watching.Clock()
    watching.threshold("slow checkout")
    applied(one("thresholds: [slow checkout], severity: SEV4"))
    clock.look(1, 500)
    assert AlertState.objects.get().phase == "firing"
    assert (watching.the_incident().definition, watching.the_incident().severity) == (definition("a"), "SEV4")


def test_an_export_changes_nothing_here_and_says_the_same_elsewhere() -> None:
    applied(WHOLE)
    text = exported()
    assert set(does(applied(text)).values()) == {"keep"}
    emptied()
    assert set(does(applied(text)).values()) == {"create"}
    assert exported() == text
    assert "https://example.com" not in text
    assert left_out() == ["channel ops, which incident definition checkout-is-slow names"]


def test_fields_that_are_left_out_keep_their_values_and_lists_are_replaced() -> None:
    applied(WHOLE)
    outcome = applied("incident_definitions: {checkout-is-slow: {cool_down: 0, channels: []}}")
    (change,) = outcome.changed
    assert change.fields == {"cool_down": [600, 0], "channels": [["ops"], []]}
    assert definition().runbook
    applied("incident_definitions: {checkout-is-slow: {escalation: null}}")
    assert definition().escalation is None


def test_what_is_replaced_is_kept_by_name_and_comes_back(tmp_path: Path) -> None:
    applied(WHOLE)
    before = definitions.shown(definition())
    file = tmp_path / "config.yaml"
    file.write_text(one("thresholds: []").replace("{a:", "{checkout-is-slow:"))
    call_command("apply", str(file), "--yes")
    assert not definition().thresholds.exists()
    (kept,) = tmp_path.glob("*.before-*")
    assert "last-resort" not in kept.read_text()
    call_command("apply", str(kept), "--yes")
    assert definitions.shown(definition()) == before


@pytest.mark.parametrize(
    ("fields", "path", "words"),
    [
        ("thresholds: [slow, slower]", "thresholds[1]", "there is no threshold 'slower'"),
        ("channels: [nowhere]", "channels[0]", "there is no channel 'nowhere'"),
        ("escalation: nobody", "escalation", "there is no escalation policy 'nobody'"),
        ("responses: [pause, 'kill:nothing']", "responses[1]", "there is no flag nothing"),
        ("responses: ['set_flag:ramp=blue']", "responses[0]", "has no variant blue"),
        ("responses: ['pause@often']", "responses[0]", "after the @"),
        ("responses: [explode]", "responses[0]", "must be one of"),
        ("responses: pause", "responses", "list"),
        ("severity: SEV9", "severity", "not a valid choice"),
        ("min_level: warning", "min_level", "not a valid choice"),
        ("rank: -1", "rank", "greater than or equal to 0"),
        ("rank: first", "rank", "valid integer"),
        ("active: perhaps", "active", "valid boolean"),
        ("matchers: {'no label': x}", "matchers.no label", "label"),
        ("matchers: [x]", "matchers", "dictionary"),
        ("group_by: ['no label']", "group_by[0]", "no label's name"),
        ("cool_down: 9999999999", "cool_down", "less than or equal to"),
        ("colour: red", "colour", "unknown field"),
        ("key: b", "key", "unknown field"),
    ],
)
def test_what_is_wrong_is_named_by_its_path_and_nothing_is_written(fields: str, path: str, words: str) -> None:
    watching.threshold("slow")
    make.flag("ramp")
    found = faults(f"services: {{shop: {{}}}}\n{one(fields)}")
    assert list(found) == [f"incident_definitions.a.{path}"]
    assert words in found[f"incident_definitions.a.{path}"]
    assert ":2:" in found[f"incident_definitions.a.{path}"]
    assert not made()


def test_faults_of_every_sort_are_told_at_once() -> None:
    found = faults(one("thresholds: [x], escalation: y, responses: [explode]").replace("}}", "}, 'b c': {name: B}}"))
    assert set(found) == {
        "incident_definitions.a.thresholds[0]", "incident_definitions.a.escalation",
        "incident_definitions.a.responses[0]", "incident_definitions.b c.key",
    }  # fmt: skip


def test_a_new_one_needs_a_name() -> None:
    assert "incident_definitions.a.name" in faults("incident_definitions: {a: {rank: 1}}")
    assert "incident_definitions.a" in faults("incident_definitions: {a: [1]}")


def test_a_name_that_several_thresholds_have_means_none_of_them() -> None:
    for _ in range(2):
        watching.threshold("slow")
    assert "several thresholds" in faults(one("thresholds: [slow]"))["incident_definitions.a.thresholds[0]"]


def test_a_deployments_threshold_is_not_meant_and_ones_own_goes_before_an_objectives() -> None:
    watching.threshold("slow", owner="deployment:42")
    assert faults(one("thresholds: [slow]"))
    fields = {"name": "up", "kind": "uptime", "metric": "probe_up", "objective": 99.9}
    slos.create("up", fields, by=BY)
    burns = Threshold.objects.exclude(slo=None).first()
    assert burns is not None
    applied(one(f"thresholds: ['{burns.name}']"))
    assert definition("a").thresholds.get() == burns
    mine = watching.threshold(burns.name)
    assert does(applied(one(f"thresholds: ['{burns.name}']"))) == {"incident_definitions.a": "keep"}
    assert definition("a").thresholds.get() == mine


@pytest.mark.parametrize("lost", [False, True])
def test_the_built_in_one_is_changed_but_never_made_narrower(lost: bool) -> None:
    if lost:
        IncidentDefinition.objects.all().delete()
    else:
        catching.built_in()
    assert BUILT_IN not in exported()
    read = applying.read(reading.from_text(f"incident_definitions: {{{BUILT_IN}: {{runbook: Look.}}}}"))
    kept, _ = applying.replaced(applying.plan(read, by=BY), by=BY)
    before = kept.get("incident_definitions", {}).get(BUILT_IN, {})
    assert before.get("runbook") == (None if lost else ""), "what was not there is not kept"
    assert does(applied(f"incident_definitions: {{{BUILT_IN}: {{runbook: Look.}}}}")) == {
        f"incident_definitions.{BUILT_IN}": "change"
    }
    for field in ("active: false", "rank: 1", "min_level: critical", "matchers: {a: b}", "thresholds: [slow]"):
        watching.threshold("slow")
        with pytest.raises(Refused, match="cannot be changed"):
            applied(f"incident_definitions: {{{BUILT_IN}: {{{field}}}}}")
        Threshold.objects.filter(name="slow").update(active=False)
    text = exported()
    assert f"  {BUILT_IN}:" in text
    emptied()
    assert does(applied(text))[f"incident_definitions.{BUILT_IN}"] == "change"
    assert exported() == text
    IncidentDefinition.objects.all().delete()
    with pytest.raises(Refused, match="makes the definition threshold itself"):
        definitions.create(BUILT_IN, {"name": "Mine", "active": False}, by=BY)


def test_whoever_may_not_configure_everywhere_writes_none_and_learns_nothing_of_what_there_is() -> None:
    watching.threshold("slow")
    place = make.environment("staging")
    for somebody in (make.person("vera", "viewer"), make.person("cleo", "captain", environment=place)):
        for name in ("slow", "none"):
            with pytest.raises(Forbidden):
                applied(one(f"thresholds: [{name}]"), by=somebody)
    assert not made()
    with pytest.raises(Forbidden):
        definition_kind.KIND.export(Scope(make.person("nobody")))


def test_one_that_would_not_be_the_same_elsewhere_is_left_out_whole_and_that_is_said() -> None:
    flag = make.flag("ramp")
    gone, kept = watching.threshold("gone"), watching.threshold("kept")
    guard = watching.threshold("guard", owner="deployment:42")
    twins = [watching.threshold("twin") for _ in range(2)]
    for key, fields in (
        ("of-one-gone", {"thresholds": [gone]}), ("of-two", {"thresholds": [gone, kept]}),
        ("of-a-deployment", {"thresholds": [kept, guard]}), ("of-a-twin", {"thresholds": [twins[0]]}),
        ("of-a-flag", {"responses": ["kill:ramp"]}),
    ):  # fmt: skip
        definitions.create(key, {"name": key, **fields}, by=BY)
    thresholds.delete(gone, by=BY)
    flags.archive(flag, by=BY, because="over")
    told = "\n".join(left_out())
    for words in (
        "of-one-gone: its thresholds were removed", "of-a-deployment: it names a threshold that no document can name",
        "of-a-twin: it names a threshold whose name others have", "of-a-flag: its response kill:ramp: there is no flag",
    ):  # fmt: skip
        assert f"incident definition {words}" in told
    content, _ = applying.export(Scope(BY))
    assert {key: one["thresholds"] for key, one in content["incident_definitions"].items()} == {"of-two": ["kept"]}


def test_of_one_environment_are_those_that_say_no_other() -> None:
    watching.threshold("slow")  # of staging
    make.environment("production")
    for key, fields in (
        ("anywhere", ""), ("here", "matchers: {environment: production}"),
        ("there", "matchers: {environment: staging}"), ("of-there", "thresholds: [slow]"),
    ):  # fmt: skip
        applied(f"incident_definitions: {{{key}: {{name: {key}, {fields}}}}}")
    content, words = applying.export(Scope(BY, "production"))
    assert set(content["incident_definitions"]) == {"anywhere", "here"}
    assert "incident definition of-there: it names a threshold that is not of production: slow" in words


def test_a_threshold_that_somebody_may_not_see_is_not_named_to_them() -> None:
    watching.threshold("secret plan")
    applied(one("thresholds: [secret plan]"))
    there = make.person("vera", "viewer", environment=make.environment("production"))
    assert "secret plan" not in exported(by=there)
    assert "secret plan" in exported()


def test_the_same_by_rest_as_an_object() -> None:
    document = {"incident_definitions": {"a": {"name": "A", "responses": ["kill:x"]}}}
    assert not Flag.objects.exists()
    with pytest.raises(Invalid, match="there is no flag x"):
        applying.plan(applying.read(reading.from_object(document)), by=BY)
