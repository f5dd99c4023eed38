"""What people do with incidents, which definition catches an alert, and who is told."""

from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from monitoring.actions import definitions, incidents, outbox, postmortems
from monitoring.models import Alert, Channel, Incident, IncidentDefinition, OutboxMessage, PostMortem, TimelineEntry
from portal import audit
from portal.errors import Forbidden, Invalid, Refused
from tests import make
from tests.monitoring import watching
from tests.monitoring.watching import BY, Clock, state, the_alert, the_incident

pytestmark = pytest.mark.django_db


@pytest.fixture
def clock(db: None) -> Clock:
    return Clock()


def kinds(incident: Incident) -> list[str]:
    return list(incident.timeline.values_list("kind", flat=True))


def test_an_incident_goes_its_way_and_every_step_is_on_record() -> None:
    dana = make.person("dana", "operator")
    incident = incidents.open_by_hand("Customers cannot pay", by=dana, severity="SEV2", service=make.service())
    incidents.acknowledge(incident, by=dana, because="on it")
    incidents.escalate(incident, by=dana, because="nobody can pay")
    incidents.mitigate(incident, by=dana, because="old version is back")
    incidents.resolve(incident, by=dana)
    postmortems.waive(incident.post_mortem, by=dana, because="a drill")
    incidents.close(incident, by=dana, because="nothing is left")
    incident.refresh_from_db()
    assert (incident.status, incident.severity, incident.acknowledged_by) == ("closed", "SEV1", "dana")
    times = [
        incident.opened_at,
        incident.acknowledged_at,
        incident.mitigated_at,
        incident.resolved_at,
        incident.closed_at,
    ]
    assert None not in times
    assert times == sorted(time for time in times if time)
    assert kinds(incident) == [
        "opened",
        "acknowledged",
        "escalated",
        "mitigated",
        "resolved",
        "postmortem.waived",
        "closed",
    ]
    assert [entry.seq for entry in incident.timeline.all()] == [1, 2, 3, 4, 5, 6, 7]
    assert {entry.actor for entry in incident.timeline.all()} == {"dana"}
    assert [entry.verb for entry in audit.of(incident)][::-1] == [
        "incident.opened",
        "incident.acknowledged",
        "incident.escalated",
        "incident.mitigated",
        "incident.resolved",
        "incident.closed",
    ]


@pytest.mark.parametrize(
    ("done", "verb"),
    [
        (["resolve"], "acknowledge"),
        (["resolve"], "mitigate"),
        (["resolve"], "escalate"),
        ([], "close"),
        (["acknowledge"], "close"),
        (["resolve", "close"], "resolve"),
        (["resolve", "close"], "acknowledge"),
    ],
)
def test_a_step_that_makes_no_sense_is_refused_in_words(done: list[str], verb: str) -> None:
    """Invariant 19: no move that the table does not allow."""
    incident = incidents.open_by_hand("x", by=BY)
    for name in done:
        PostMortem.objects.update(status="waived")
        getattr(incidents, name)(incident, by=BY)
    before = kinds(incident)
    with pytest.raises(Refused, match=f"incident {incident.pk}"):
        getattr(incidents, verb)(incident, by=BY)
    assert kinds(incident) == before


@pytest.mark.parametrize("verb", ["acknowledge", "mitigate", "resolve"])
def test_the_same_step_twice_changes_nothing(verb: str) -> None:
    incident = incidents.open_by_hand("x", by=BY)
    getattr(incidents, verb)(incident, by=BY)
    before = (kinds(incident), audit.of(incident).count())
    getattr(incidents, verb)(incident, by=BY)
    assert (kinds(incident), audit.of(incident).count()) == before


def test_whoever_comes_after_it_was_mitigated_is_on_record_and_it_stays_mitigated() -> None:
    incident = incidents.open_by_hand("x", by=BY)
    incidents.mitigate(incident, by=BY)
    incidents.acknowledge(incident, by=make.person("dana", "operator"))
    assert (incident.status, incident.acknowledged_by) == ("mitigated", "dana")
    assert kinds(incident)[-1] == "acknowledged"


def test_only_who_may_operate_there_acts() -> None:
    production, shop = make.production(), make.service()
    incident = incidents.open_by_hand("x", by=BY, environment=production, service=shop)
    elsewhere = make.person("eve", "operator", environment=make.environment("staging"))
    for stranger in (elsewhere, make.person("vera", "viewer"), make.person("app", "approver")):
        for verb in ("acknowledge", "escalate", "mitigate", "resolve", "close"):
            with pytest.raises(Forbidden):
                getattr(incidents, verb)(incident, by=stranger)
        with pytest.raises(Forbidden):
            incidents.note(incident, "x", by=stranger)
    incidents.acknowledge(incident, by=make.person("dana", "operator", environment=production, service=shop))
    assert incident.status == "acknowledged"


def test_a_timeline_can_only_grow() -> None:
    """Invariant 19: append-only."""
    incident = incidents.open_by_hand("x", by=BY)
    for spoil in (lambda: TimelineEntry.objects.update(text="y"), lambda: TimelineEntry.objects.all().delete()):
        with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
            spoil()
    assert incident.timeline.get().text == "x"


def test_truncating_a_timeline_is_refused_too() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT tgname FROM pg_trigger WHERE tgrelid = 'monitoring_timelineentry'::regclass AND NOT tgisinternal"
        )
        assert {name for (name,) in cursor.fetchall()} == {
            "monitoring_timelineentry_append_only",
            "monitoring_timelineentry_no_truncate",
        }


def test_resolving_by_hand_ends_its_alerts_and_they_fire_anew_if_they_are_right(clock: Clock) -> None:
    threshold = watching.threshold()
    clock.look(1, 500)
    incident = the_incident()
    with pytest.raises(Refused, match="still fires"):
        incidents.resolve(incident, by=BY, because="false alarm")
    with pytest.raises(Invalid, match="say why"):
        incidents.resolve(incident, by=BY, despite_alerts=True)
    incidents.resolve(incident, by=BY, because="false alarm", despite_alerts=True)
    assert the_alert().status == "resolved"
    assert the_alert().resolved_because == f"resolved by test with incident {incident.pk}"
    assert incident.timeline.last().text == (  # type: ignore[union-attr]
        "resolved by test while 1 alert was still firing: false alarm"
    )
    assert state(threshold).phase == "inactive"
    clock.look(11)
    assert [one.status for one in Incident.objects.order_by("id")] == ["resolved", "triggered"]
    assert [one.status for one in Alert.objects.order_by("id")] == ["resolved", "firing"]


def test_an_acknowledged_incident_resolves_by_itself_and_the_acknowledgement_stays(clock: Clock) -> None:
    watching.threshold()
    clock.look(1, 500)
    incidents.acknowledge(the_incident(), by=BY)
    clock.look(100, 100)
    assert (the_incident().status, the_incident().acknowledged_by) == ("resolved", "test")


# --- Which definition ---------------------------------------------------------------------------


def test_the_first_definition_that_fits_catches_the_alert(clock: Clock) -> None:
    definitions.create("staging", {"name": "Staging", "rank": 1, "matchers": {"environment": "production"}}, by=BY)
    fits = definitions.create(
        "shop", {"name": "Shop", "rank": 2, "matchers": {"service": "checkout"}, "severity": "SEV4"}, by=BY
    )
    definitions.create("later", {"name": "Later", "rank": 3}, by=BY)
    watching.threshold()
    clock.look(1, 500)
    assert (the_incident().definition, the_incident().severity) == (fits, "SEV4")


def test_a_definition_for_critical_alerts_leaves_errors_to_the_built_in_one(clock: Clock) -> None:
    definitions.create("grave", {"name": "Grave", "rank": 1, "min_level": "critical"}, by=BY)
    watching.threshold(error=300, critical=10_000)
    clock.look(1, 500)
    assert the_incident().definition.key == "threshold"  # type: ignore[union-attr]


def test_a_definition_may_name_its_thresholds(clock: Clock) -> None:
    one, other = watching.threshold("one"), watching.threshold("other")
    definitions.create("own", {"name": "Own", "thresholds": [one]}, by=BY)
    clock.look(1, 500)
    assert Alert.objects.get(threshold=one).incident.definition.key == "own"  # type: ignore[union-attr]
    assert Alert.objects.get(threshold=other).incident.definition.key == "threshold"  # type: ignore[union-attr]


def test_group_by_splits_incidents(clock: Clock) -> None:
    definitions.create("each", {"name": "Each", "group_by": ["threshold"]}, by=BY)
    watching.threshold("one")
    watching.threshold("other")
    clock.look(1, 500)
    assert Incident.objects.count() == 2


def test_without_service_and_target_each_threshold_has_its_own_incident(clock: Clock) -> None:
    for name in ("one", "other"):
        watching.threshold(name, matchers={})
    clock.send(1, 500, labels={"host": "a"})
    clock.look(2)
    assert Incident.objects.count() == 2


def test_service_and_environment_come_from_the_series_where_the_matchers_name_none(clock: Clock) -> None:
    watching.threshold(matchers={})
    clock.look(1, 500)
    assert (str(the_alert().service), str(the_alert().environment)) == ("checkout", "staging")


def test_the_built_in_definition_is_there_even_after_it_was_lost(clock: Clock) -> None:
    IncidentDefinition.objects.all().delete()
    watching.threshold()
    clock.look(1, 500)
    assert the_incident().definition.key == "threshold"  # type: ignore[union-attr]


def test_the_built_in_definition_stays_what_it_is_but_may_tell_others() -> None:
    built_in = IncidentDefinition.objects.get_or_create(key="threshold", defaults={"name": "Threshold crossed"})[0]
    for fields in ({"active": False}, {"matchers": {"service": "x"}}, {"min_level": "critical"}, {"rank": 1}):
        with pytest.raises(Refused):
            definitions.change(built_in, fields, by=BY)
    with pytest.raises(Refused):
        definitions.delete(built_in, by=BY)
    channel = Channel.objects.create(name="ops", kind="webhook", config={})
    definitions.change(built_in, {"channels": [channel], "active": True}, by=BY)
    assert list(built_in.channels.all()) == [channel]


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"responses": ["teleport"]}, "responses[0]"),
        ({"matchers": {"9": "x"}}, "matchers.9"),
        ({"matchers": {"service": ""}}, "matchers.service"),
        ({"group_by": ["a b"]}, "group_by[0]"),
    ],
)
def test_a_definition_that_cannot_work_is_refused_by_its_field(fields: dict[str, Any], wrong: str) -> None:
    with pytest.raises(Invalid) as refusal:
        definitions.create("x", {"name": "x", **fields}, by=BY)
    assert set(refusal.value.errors) == {wrong}
    assert not IncidentDefinition.objects.filter(key="x").exists()


def test_a_definition_with_incidents_is_not_deleted(clock: Clock) -> None:
    definition = definitions.create("x", {"name": "x"}, by=BY)
    watching.threshold()
    clock.look(1, 500)
    with pytest.raises(Refused, match="switch it off"):
        definitions.delete(definition, by=BY)


# --- Who is told --------------------------------------------------------------------------------


@pytest.fixture
def told() -> IncidentDefinition:
    """Whatever happens is told to one channel."""
    channel = Channel.objects.create(name="ops", kind="webhook", config={"url": "http://192.0.2.1/"})
    return definitions.create("told", {"name": "Told", "rank": 1, "channels": [channel]}, by=BY)


def messages() -> list[str]:
    return list(OutboxMessage.objects.order_by("id").values_list("kind", flat=True))


def test_each_event_of_an_incident_is_one_message_a_channel(told: IncidentDefinition, clock: Clock) -> None:
    watching.threshold("latency")
    watching.threshold("worst", aggregation="max", error=300, critical=1000)
    clock.look(1, 500)
    assert messages() == ["incident.opened"]
    clock.look(2, 5000)
    incidents.acknowledge(the_incident(), by=BY)
    incidents.escalate(the_incident(), by=BY)
    incidents.escalate(the_incident(), by=BY)
    clock.look(100, 10)
    assert messages() == [
        "incident.opened",
        "incident.raised",
        "incident.acknowledged",
        "incident.escalated",
        "incident.escalated",
        "incident.resolved",
    ]
    payload = OutboxMessage.objects.order_by("id")[0].payload
    assert payload["kind"] == "incident.opened"
    assert payload["text"].startswith("latency: error on checkout in staging: latency 500 > 300")
    assert payload["incident"] | {"id": 0, "opened_at": "", "url": ""} == {
        "id": 0,
        "uid": str(the_incident().uid),
        "acknowledged_by": None,
        "title": "latency: error on checkout in staging",
        "status": "triggered",
        "severity": "SEV2",
        "service": "checkout",
        "environment": "staging",
        "target": None,
        "opened_at": "",
        "proposed": [],
        "entries": 1,
        "url": "",
    }


def test_a_flapping_metric_tells_once_an_incident(told: IncidentDefinition, clock: Clock) -> None:
    watching.threshold(keep_firing_for=3600, window=5)
    for second in range(0, 200, 10):
        clock.look(second + 1, 500)
        clock.look(second + 6, 100)
    assert messages() == ["incident.opened"]


def test_nobody_is_told_of_what_was_rolled_back(told: IncidentDefinition) -> None:
    with transaction.atomic():
        incidents.open_by_hand("x", by=BY, definition=told)
        transaction.set_rollback(True)
    assert messages() == []
    assert outbox.deliver() == 0
