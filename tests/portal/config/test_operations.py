"""Limits, scaling, watchdogs, costs and components in the document: applied, exported, the same again."""

import pytest

from monitoring.actions import capacities, channels, scaling_policies, statuspage, unit_costs, watchdogs
from monitoring.models import AlertState, Capacity, ScalingPolicy, StatusComponent, Threshold, UnitCost, Watchdog
from portal.config import applying, kinds, reading
from portal.config.kinds import Scope
from portal.errors import Forbidden, Invalid, Refused
from tests import make
from tests.make import BY
from tests.portal.config.documents import applied, does, emptied, exported, left_out

pytestmark = pytest.mark.django_db

SECTIONS = ("watchdogs", "capacities", "scaling_policies", "unit_costs", "status_components")
PLACES = kinds.template("services") + kinds.template("environments")
HERE = "service: checkout, environment: staging"
# One of each, in a place; and what is wrong with each in turn.
ONE = {
    "watchdogs": f"watchdogs: {{w: {{{HERE}, every: 60, matchers: {{alertname: Watchdog}}}}}}",
    "capacities": f"capacities: {{c: {{name: C, metric: m, limit: 5, matchers: {{{HERE}}}}}}}",
    "scaling_policies": f"scaling_policies: {{s: {{name: S, metric: m, target: 6, instances: 3, {HERE}}}}}",
    "unit_costs": "unit_costs: {checkout: {staging: {instance_price: 7}}}",
    "status_components": f"status_components: {{Shop: {{{HERE}}}}}",
}
WRONG = [
    ("watchdogs", "every: 60", "every: 1", "w.every"),
    ("watchdogs", "every: 60", "active: 5", "w.active"),
    ("watchdogs", "every: 60", "beats: 5", "w.beats"),
    ("watchdogs", "every: 60", "key: x", "w.key"),
    ("watchdogs", "alertname", "no label", "w.matchers"),
    ("watchdogs", "service: checkout", "service: mars", "w.service"),
    ("watchdogs", "environment: staging", "environment: mars", "w.environment"),
    ("watchdogs", "{w:", "{a/b:", "a/b.key"),
    ("capacities", "limit: 5", "limit: much", "c.limit"),
    ("capacities", "limit: 5", "limit: 5, share: 2", "c.share"),
    ("capacities", "limit: 5", "limit: 5, colour: red", "c.colour"),
    ("capacities", "metric: m", "metric: 'a b'", "c.metric"),
    ("capacities", "service: checkout", "service: mars", "c.matchers.service"),
    ("capacities", "{c:", "{a/b:", "a/b.key"),
    ("scaling_policies", "target: 6", "target: 0", "s.target"),
    ("scaling_policies", "target: 6", "target: 6, channel: nowhere", "s.channel"),
    ("scaling_policies", "target: 6", "target: 6, mode: send", "s.channel"),
    ("scaling_policies", "service: checkout", "service: mars", "s.service"),
    ("scaling_policies", "environment: staging", "environment: mars", "s.environment"),
    ("scaling_policies", "instances: 3", "instances: many", "s.instances"),
    ("scaling_policies", "instances: 3", "secret: x, instances: 3", "s.secret"),
    ("unit_costs", "instance_price: 7", "instance_price: -7", "checkout.staging.instance_price"),
    ("unit_costs", "instance_price: 7", "instance_price: 7, currency: money", "checkout.staging.currency"),
    ("unit_costs", "instance_price: 7", "colour: red, instance_price: 7", "checkout.staging.colour"),
    ("unit_costs", "checkout:", "mars:", "mars.staging.service"),
    ("unit_costs", "staging:", "mars:", "checkout.mars.environment"),
    ("unit_costs", "{staging: {instance_price: 7}}", "5", "checkout"),
    ("status_components", "service: checkout", "service: mars", "Shop.service"),
    ("status_components", "environment: staging", "position: -1", "Shop.position"),
    ("status_components", "environment: staging", "auto_publish: perhaps", "Shop.auto_publish"),
    ("status_components", "environment: staging", "status: major_outage", "Shop.status"),
    ("status_components", "environment: staging", "name: Other", "Shop.name"),
]


def templates() -> str:
    return PLACES + "".join(kinds.template(name) for name in SECTIONS)


def warnings(text: str) -> list[tuple[str, str]]:
    return applied(text).warnings


@pytest.mark.parametrize("section", SECTIONS)
def test_its_template_is_applied_where_what_it_names_is_there(section: str) -> None:
    applied(PLACES)
    template = kinds.template(section)
    assert set(does(applied(template)).values()) == {"create"}
    assert set(does(applied(template)).values()) == {"keep"}
    uncommented = template.replace("# service:", "service:").replace(
        "# environment: production", "environment: staging"
    )
    applied(uncommented)
    assert set(does(applied(uncommented)).values()) == {"keep"}


def test_an_export_changes_nothing_here_and_says_the_same_elsewhere() -> None:
    applied("\n".join((PLACES, *ONE.values())))
    text = exported()
    assert set(does(applied(text)).values()) == {"keep"}
    emptied()
    assert not Watchdog.objects.exists()
    assert set(does(applied(text)).values()) == {"create"}
    assert exported() == text


@pytest.mark.parametrize("section", SECTIONS)
def test_of_one_environment_is_what_is_in_it(section: str) -> None:
    applied(f"{PLACES}\n{ONE[section]}")
    make.environment("production")
    assert section in applying.export(Scope(BY, "staging"))[0]
    assert section not in applying.export(Scope(BY, "production"))[0]


@pytest.mark.parametrize(("section", "right", "wrong", "path"), WRONG)
def test_what_is_wrong_is_named_by_its_path_and_nothing_is_written(
    section: str, right: str, wrong: str, path: str
) -> None:
    applied(PLACES)
    assert right in ONE[section]
    with pytest.raises(Invalid) as refusal:
        applied(f"services: {{other: {{}}}}\n{ONE[section].replace(right, wrong, 1)}")
    assert list(refusal.value.errors) == [f"{section}.{path}"]
    assert ":2:" in refusal.value.errors[f"{section}.{path}"]
    assert "other" not in exported()
    assert section not in exported()


@pytest.mark.parametrize("section", SECTIONS)
def test_whoever_may_not_configure_there_writes_nothing_and_sees_nothing_of_elsewhere(section: str) -> None:
    applied(f"{PLACES}\n{ONE[section]}")
    elsewhere = make.person("eva", "owner", environment=make.environment("production"))
    viewer = make.person("vera", "viewer")
    for somebody in (viewer, *([elsewhere] if section != "status_components" else [])):
        with pytest.raises(Forbidden):
            applied(ONE[section], by=somebody)
    assert f"{section}:" in exported(by=viewer)
    assert f"{section}:" not in exported(by=elsewhere)


@pytest.mark.parametrize("section", SECTIONS)
def test_fields_that_are_left_out_keep_their_values(section: str) -> None:
    applied(f"{PLACES}\n{ONE[section]}")
    text = exported()
    applied({
        "watchdogs": "watchdogs: {w: {grace: 7}}",
        "capacities": "capacities: {c: {share: 0.5}}",
        "scaling_policies": "scaling_policies: {s: {maximum: 70}}",
        "unit_costs": "unit_costs: {checkout: {staging: {currency: PLN}}}",
        "status_components": "status_components: {Shop: {position: 7}}",
    }[section])  # fmt: skip
    before, after = text.splitlines(), exported().splitlines()
    assert len([one for one, other in zip(before, after, strict=True) if one != other]) == 1


def test_a_count_that_decisions_have_moved_on_is_not_turned_back() -> None:
    applied(f"{PLACES}\n{ONE['scaling_policies']}")
    ScalingPolicy.objects.update(instances=5)
    assert warnings(ONE["scaling_policies"]) == [
        ("scaling_policies.s.instances", "there are 5 by now, and 3 is not written")
    ]
    assert ScalingPolicy.objects.get().instances == 5
    assert set(does(applied(ONE["scaling_policies"])).values()) == {"keep"}
    with pytest.raises(Invalid, match="scaling_policies.s.instances"):
        applied(ONE["scaling_policies"].replace("instances: 3", "instances: 0"))
    applied("scaling_policies: {s: {instances: null, instances_metric: up}}")
    assert ScalingPolicy.objects.get().instances is None
    applied("scaling_policies: {s: {instances: 4}}")
    assert ScalingPolicy.objects.get().instances == 4


def test_one_policy_scales_a_place() -> None:
    applied(f"{PLACES}\n{ONE['scaling_policies']}")
    with pytest.raises(Refused, match="s scales"):
        applied(ONE["scaling_policies"].replace("{s:", "{another:"))


def test_a_policys_webhook_is_named_and_never_shown() -> None:
    applied(PLACES)
    config = {"url": "https://scale.example.com/x"}
    hook = channels.create({"name": "scaler", "kind": "webhook", "config": config, "secret": "sesame"}, by=BY)
    applied(ONE["scaling_policies"].replace("target: 6", "target: 6, mode: send, channel: scaler"))
    text = exported()
    assert "channel: scaler" in text
    assert not [word for word in ("sesame", "scale.example.com") if word in text]
    assert left_out() == ["channel scaler, which scaling policy s names"]
    channels.change(hook, {"active": False}, by=BY)
    assert left_out() == ["scaling policy s: its channel scaler is switched off"]
    assert "scaling_policies" not in exported()


def test_a_watchdog_that_its_alert_made_is_not_exported_but_kept_when_it_is_replaced() -> None:
    watchdogs.create({"key": "found", "matchers": {"alertname": "Watchdog"}}, by=watchdogs.BY)
    assert left_out() == ["watchdog found: its alert made it, and makes it again"]
    assert "watchdogs" not in exported()
    document = applying.read(reading.from_text("watchdogs: {found: {grace: 7}}"))
    kept, _ = applying.replaced(applying.plan(document, by=BY), by=BY)
    assert kept["watchdogs"]["found"]["grace"] == 240


def test_a_watchdog_of_a_document_watches() -> None:
    applied(f"{PLACES}\n{ONE['watchdogs']}")
    watchdog = Watchdog.objects.get()
    watchdogs.notice_silence(now=watchdog.created_at + 2 * watchdog.patience)
    assert AlertState.objects.get(threshold=watchdog.threshold).phase == "firing"


def test_what_a_person_says_of_a_component_stays_and_is_not_exported() -> None:
    applied(f"{PLACES}\n{ONE['status_components']}")
    component = StatusComponent.objects.get()
    statuspage.set_status(component, "major_outage", by=BY)
    assert left_out() == ["status component Shop: that a person says it is major outage"]
    assert "major_outage" not in exported()
    applied("status_components: {Shop: {position: 3}}")
    component.refresh_from_db()
    assert (component.position, component.status) == (3, "major_outage")
    applied("status_components: {' Shop ': {position: 3}}")
    assert StatusComponent.objects.count() == 1


def test_what_is_there_already_is_found_whatever_door_it_came_by() -> None:
    applied(PLACES)
    place = make.environment("staging")
    capacities.create("c", {"name": "C", "metric": "m", "limit": 5}, by=BY)
    unit_costs.put(make.service("checkout"), place, {"metric": "cost"}, by=BY)
    scaling_policies.create(
        "s", {"name": "S", "metric": "m", "target": 6, "instances": 3, "service": "checkout", "environment": "staging"},
        by=BY,
    )  # fmt: skip
    found = does(applied("\n".join(ONE[name] for name in ("capacities", "unit_costs", "scaling_policies"))))
    assert found == {
        "capacities.c": "change", "scaling_policies.s": "keep", "unit_costs.checkout.staging": "change",
    }  # fmt: skip
    cost = UnitCost.objects.get()
    assert (cost.instance_price, cost.metric) == (7, "cost")
    assert Capacity.objects.count() == ScalingPolicy.objects.count() == 1


def test_a_watchdogs_own_threshold_is_nobodys_to_name() -> None:
    applied(f"{PLACES}\n{ONE['watchdogs']}")
    assert Threshold.objects.get().source == "watchdog"
    with pytest.raises(Invalid, match="there is no threshold 'w'"):
        applied("incident_definitions: {a: {name: A, thresholds: [w]}}")
    assert "thresholds" not in applying.export(Scope(BY))[0]
