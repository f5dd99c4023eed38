"""What holds alerts back: silences, maintenance windows, inhibitions, flapping; and what is told in the end."""

from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from monitoring.actions import alerts, silences
from monitoring.judging import Condition, Event, Level, Measurement, NoData, State, judge, step
from monitoring.models import Alert, Channel, Incident, IncidentDefinition, OutboxMessage, Silence, Threshold
from monitoring.models.incidents import BUILT_IN
from monitoring.suppressing import Matcher, Recurrence
from portal.errors import Forbidden, Invalid, Refused
from tests import make
from tests.monitoring import watching
from tests.monitoring.watching import BY, Clock, deeds, the_alert, the_incident

pytestmark = pytest.mark.django_db
CHECKOUT = [{"name": "service", "value": "checkout"}]
WARSAW = ZoneInfo("Europe/Warsaw")


@pytest.fixture
def clock(db: None) -> Clock:
    definition, _ = IncidentDefinition.objects.get_or_create(key=BUILT_IN, defaults={"name": "Threshold crossed"})
    definition.channels.add(Channel.objects.create(name="ops", kind="webhook", config={"url": "https://example.com/"}))
    watching.place()
    return Clock()


def told() -> list[str]:
    return list(OutboxMessage.objects.order_by("id").values_list("kind", flat=True))


def silence(clock: Clock, until: float = 50, **options: Any) -> Silence:
    matchers = options.pop("matchers", CHECKOUT)
    return silences.silence(matchers, starts_at=clock.at(0), ends_at=clock.at(until), comment="moving", by=BY)


# --- Silences -----------------------------------------------------------------------------------
def test_in_silence_it_is_judged_and_nobody_is_told(clock: Clock) -> None:
    watching.threshold()
    made = silence(clock)
    clock.look(1, 500)
    alert = the_alert()
    assert (alert.status, alert.incident, told()) == ("firing", None, [])
    assert alert.held_because.startswith(f"silence {made.pk} (moving), until ")
    assert not Incident.objects.exists()


def test_at_the_end_of_the_silence_what_still_fires_is_told_once(clock: Clock) -> None:
    watching.threshold()
    silence(clock)
    clock.look(1, 500)
    assert alerts.tell_held(now=clock.at(49.9)) == 0
    assert [alerts.tell_held(now=clock.at(second)) for second in (50, 51, 52)] == [1, 0, 0]
    assert (told(), the_incident().status) == (["incident.opened"], "triggered")
    alert = the_alert()
    assert (alert.incident, alert.held_at, alert.told_at) == (the_incident(), None, clock.at(50))


def test_what_is_over_before_the_silence_ends_is_never_told(clock: Clock) -> None:
    watching.threshold()
    silence(clock, until=300)
    clock.look(1, 500)
    clock.look(100, 200)
    assert the_alert().status == "resolved"
    assert alerts.tell_held(now=clock.at(301)) == 0
    assert (told(), Incident.objects.count()) == ([], 0)


def test_what_was_told_before_the_silence_is_still_told_to_be_over(clock: Clock) -> None:
    watching.threshold()
    clock.look(1, 500)
    silence(clock, until=300)
    clock.look(100, 200)
    assert told() == ["incident.opened", "incident.resolved"]


def test_a_worse_level_in_silence_is_told_when_it_ends(clock: Clock) -> None:
    watching.threshold(error=300, critical=1000)
    clock.look(1, 500)
    silence(clock)
    clock.look(2, 5000)
    assert (told(), the_incident().severity) == (["incident.opened"], "SEV1")
    assert alerts.tell_held(now=clock.at(51)) == 1
    assert told() == ["incident.opened", "incident.raised"]


def test_what_the_portal_does_by_itself_is_done_in_silence_too(clock: Clock) -> None:
    done = deeds()
    watching.threshold(response="take_back", target="deployment:1")
    silence(clock)
    clock.look(1, 500)
    assert (the_incident().status, done.targets) == ("mitigated", ["deployment:1"])
    assert told() == ["incident.mitigated"]  # what was done is always told
    assert alerts.tell_held(now=clock.at(51)) == 1
    assert told() == ["incident.mitigated", "incident.opened"]


@pytest.mark.parametrize(
    ("matcher", "holds"),
    [
        ({"name": "service", "value": "check.*", "is_regex": True}, True),
        ({"name": "service", "value": "check", "is_regex": True}, False),  # the whole of it, as in Prometheus
        ({"name": "alertname", "value": "latency"}, True),
        ({"name": "level", "value": "critical"}, False),
    ],
)
def test_matchers_are_alertmanagers(clock: Clock, matcher: dict[str, Any], holds: bool) -> None:
    watching.threshold()
    silence(clock, matchers=[matcher])
    clock.look(1, 500)
    assert bool(the_alert().held_because) is holds


def test_a_matcher_on_a_missing_label_sees_the_empty_text() -> None:
    assert Matcher("team", "").matches({})
    assert Matcher("team", "a", is_equal=False).matches({})
    assert not Matcher("team", "a").matches({})


def test_ending_a_silence_tells_what_still_fires(clock: Clock) -> None:
    watching.threshold()
    made = silence(clock, until=5000)
    clock.look(1, 500)
    silences.expire(made, by=BY)
    assert alerts.tell_held(now=clock.at(60)) == 1
    made.refresh_from_db()
    ended = made.ends_at
    assert silences.expire(made, by=BY).ends_at == ended


@pytest.mark.parametrize(
    ("matchers", "field"),
    [
        ([], "matchers"),
        ([{"name": "service"}], "matchers[0]"),
        ([{"name": "service", "value": "nowhere"}], "matchers[0].value"),
        ([{"name": "a", "value": "(", "is_regex": True}], "matchers[0].value"),
        ([{"name": "a", "value": "(a+)+b", "is_regex": True}], "matchers[0].value"),
        ([{"name": "a", "value": "x", "is_equal": False}], "matchers"),
        ([{"name": "a", "value": "x", "colour": "red"}], "matchers[0].colour"),
    ],
)
def test_a_silence_that_cannot_be_is_refused_by_field(clock: Clock, matchers: Any, field: str) -> None:
    with pytest.raises(Invalid) as refused:
        silences.silence(matchers, ends_at=clock.at(50), comment="moving", by=BY)
    assert list(refused.value.errors) == [field]


def test_only_who_operates_there_may_silence(clock: Clock) -> None:
    viewer = make.person("vic", "viewer")
    operator = make.person("olu", "operator", service=make.service("checkout"))
    with pytest.raises(Forbidden):
        silences.silence(CHECKOUT, ends_at=clock.at(50), comment="moving", by=viewer)
    with pytest.raises(Forbidden):  # everything of staging is more than checkout
        silences.silence(
            [{"name": "environment", "value": "staging"}], ends_at=clock.at(50), comment="moving", by=operator
        )
    whole = make.person("ola", "operator")
    assert silences.silence(CHECKOUT, ends_at=clock.at(50), comment="moving", by=whole).author == "ola"


# --- Maintenance windows ------------------------------------------------------------------------
def test_a_maintenance_window_holds_back_until_it_is_cancelled(clock: Clock) -> None:
    watching.threshold()
    window = silences.plan(
        {"name": "move", "matchers": CHECKOUT, "starts_at": clock.at(0), "ends_at": clock.at(500)}, by=BY
    )
    clock.look(1, 500)
    assert (the_alert().incident, told()) == (None, [])
    assert the_alert().held_because.startswith("maintenance move, until ")
    silences.cancel(window, by=BY)
    assert alerts.tell_held(now=clock.at(2)) == 1
    with pytest.raises(Refused):
        silences.cancel(window, by=BY)


NIGHT = Recurrence(frozenset(range(7)), time(22), time(6), WARSAW)


@pytest.mark.parametrize(
    ("day", "hours"), [((2026, 6, 1), 8), ((2026, 3, 28), 7), ((2026, 10, 24), 9)], ids=["summer", "spring", "autumn"]
)
def test_a_nightly_window_keeps_to_the_wall_clock(day: tuple[int, int, int], hours: int) -> None:
    """Invariant 22."""
    evening = datetime(*day, 23, tzinfo=WARSAW)
    span = NIGHT.at(evening)
    assert span is not None
    assert span[1] - span[0] == timedelta(hours=hours)
    assert [moment.astimezone(WARSAW).hour for moment in span] == [22, 6]
    assert NIGHT.at(span[1]) is None
    assert NIGHT.at(span[1] - timedelta(seconds=1)) == span


def test_a_window_in_the_hour_that_is_left_out_comes_the_same_stretch_later() -> None:
    lost = Recurrence(frozenset({6}), time(2, 15), time(2, 45), WARSAW)
    span = lost.at(datetime(2026, 3, 29, 1, 20, tzinfo=UTC))
    assert span is not None
    assert [f"{moment.astimezone(WARSAW):%H:%M}" for moment in span] == ["03:15", "03:45"]


def test_in_the_hour_that_comes_twice_it_is_the_first() -> None:
    twice = Recurrence(frozenset({6}), time(2, 15), time(2, 45), WARSAW)
    assert twice.at(datetime(2026, 10, 25, 0, 20, tzinfo=UTC)) is not None
    assert twice.at(datetime(2026, 10, 25, 1, 20, tzinfo=UTC)) is None


def test_a_window_holds_on_its_days_alone() -> None:
    sunday = Recurrence(frozenset({6}), time(22), time(6), WARSAW)
    assert sunday.at(datetime(2026, 6, 8, 5, tzinfo=WARSAW)) is not None  # Monday morning, of Sunday's
    assert sunday.at(datetime(2026, 6, 7, 5, tzinfo=WARSAW)) is None
    following = sunday.following(datetime(2026, 6, 8, 7, tzinfo=WARSAW))
    assert following is not None
    assert following[0] == datetime(2026, 6, 14, 22, tzinfo=WARSAW)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"ends_at": None}, "ends_at"),
        ({"days": ["sun"]}, "opens"),
        ({"days": ["someday"], "opens": time(1), "closes": time(2)}, "days"),
        ({"zone": "Mars/Olympus"}, "zone"),
        ({"name": " "}, "name"),
    ],
)
def test_a_window_that_cannot_be_is_refused_by_field(clock: Clock, fields: dict[str, Any], field: str) -> None:
    whole = {"name": "move", "matchers": CHECKOUT, "ends_at": clock.at(50), **fields}
    with pytest.raises(Invalid) as refused:
        silences.plan(whole, by=BY)
    assert field in refused.value.errors


# --- Inhibition ---------------------------------------------------------------------------------
def test_while_its_cause_fires_a_consequence_is_not_told(clock: Clock) -> None:
    where = {"service": "checkout", "environment": "staging"}
    watching.threshold("down", metric="down", aggregation="max", error=0.5)
    watching.threshold("latency")
    silences.inhibit(
        {
            "name": "one cause",
            "source": [{"name": "alertname", "value": "down"}],
            "target": [{"name": "alertname", "value": "latency"}],
            "equal": ["service", "environment"],
        },
        by=BY,
    )
    clock.send(0.5, 1, metric="down", labels=where)
    clock.look(1)
    clock.look(2, 500)
    consequence = Alert.objects.get(threshold__name="latency")
    assert (consequence.status, consequence.incident) == ("firing", None)
    assert consequence.held_because.startswith("one cause: down is firing")
    assert told() == ["incident.opened"]
    clock.send(99, 0, metric="down", labels=where)
    clock.look(100, 500)
    assert alerts.tell_held(now=clock.at(100)) == 1
    assert told() == ["incident.opened", "incident.resolved", "incident.opened"]


def test_elsewhere_the_same_cause_inhibits_nothing(clock: Clock) -> None:
    make.service("search")
    elsewhere = {"service": "search", "environment": "staging"}
    watching.threshold("down", metric="down", aggregation="max", error=0.5, matchers=elsewhere)
    watching.threshold("latency")
    rule = {"name": "r", "source": [{"name": "alertname", "value": "down"}], "target": CHECKOUT, "equal": ["service"]}
    silences.inhibit(rule, by=BY)
    clock.send(0.5, 1, metric="down", labels=elsewhere)
    clock.look(1)
    clock.look(2, 500)
    assert Alert.objects.get(threshold__name="latency").incident is not None


def test_nothing_inhibits_itself(clock: Clock) -> None:
    watching.threshold("latency")
    silences.inhibit({"name": "all", "source": CHECKOUT, "target": CHECKOUT, "equal": ["service"]}, by=BY)
    clock.look(1, 500)
    assert the_alert().incident is not None


# --- Flapping -----------------------------------------------------------------------------------
def test_a_hundred_flaps_are_a_handful_of_messages(clock: Clock) -> None:
    """Invariant 16."""
    watching.threshold(window=1, interval=1)
    for second in range(2, 402, 4):
        clock.look(second, 500)
        clock.look(second + 2, 100)
    assert told() == ["incident.opened", "incident.resolved"] * 2 + ["incident.opened", "incident.flapping"]
    flapping = Alert.objects.get(status="firing")
    assert flapping.flapping
    assert the_incident_of(flapping).status == "triggered"


def the_incident_of(alert: Alert) -> Incident:
    assert alert.incident is not None
    return alert.incident


CONDITION = Condition("errors", ">", {Level.ERROR: 1.0}, interval=1, flap_transitions=4, flap_window=100)
NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


def walked(condition: Condition, values: list[tuple[int, float]]) -> tuple[State, list[Event]]:
    state = State()
    events: list[Event] = []
    for second, value in values:
        taken = step(condition, state, judge(condition, Measurement(value, 10)), now=NOON + timedelta(seconds=second))
        state = taken.state
        if taken.event is not Event.NONE:
            events.append(taken.event)
    return state, events


def test_what_flaps_is_over_when_it_was_calm_for_the_window() -> None:
    flapping = [(0, 2.0), (1, 0.0), (2, 2.0), (3, 0.0)]
    calm = [(second, 0.0) for second in range(4, 104)]
    state, events = walked(CONDITION, [*flapping, *calm[:-1]])
    assert (events, state.flapping) == ([Event.FIRED, Event.RESOLVED, Event.FIRED, Event.FLAPPING], True)
    assert walked(CONDITION, [*flapping, *calm])[1][-1] is Event.RESOLVED


def test_slow_changes_are_no_flapping() -> None:
    slow = [(40 * turn, 2.0 if turn % 2 == 0 else 0.0) for turn in range(10)]
    assert Event.FLAPPING not in walked(CONDITION, slow)[1]


# --- Errors -------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("no_data", "on_error", "event"),
    [
        (NoData.KEEP, None, Event.NONE),
        (NoData.OK, None, Event.NONE),
        (NoData.ALERT, None, Event.FIRED),
        (NoData.KEEP, NoData.ALERT, Event.FIRED),
        (NoData.ALERT, NoData.KEEP, Event.NONE),
    ],
)
@pytest.mark.parametrize("measured", [Measurement(float("nan"), 10), Measurement(None, error="out of range")])
def test_what_cannot_be_measured_goes_by_the_policy_for_errors(
    measured: Measurement, no_data: NoData, on_error: NoData | None, event: Event
) -> None:
    condition = Condition("errors", ">", {Level.ERROR: 1.0}, no_data=no_data, on_error=on_error)
    assert step(condition, State(), judge(condition, measured), now=NOON).event is event


# --- False alerts -------------------------------------------------------------------------------
def test_a_false_alert_counts_against_its_threshold(clock: Clock) -> None:
    threshold = watching.threshold()
    clock.look(1, 500)
    clock.look(100, 200)
    clock.look(200, 500)
    first = Alert.objects.order_by("id")[0]
    alerts.mark_false(first, by=make.person("olu", "operator"), because="a test of the load balancer")
    found = Threshold.objects.with_false_alerts().get(pk=threshold.pk)
    assert (found.alerts_had, found.alerts_false) == (2, 1)  # type: ignore[attr-defined]
    first.refresh_from_db()
    assert (first.false_by, first.false_because) == ("olu", "a test of the load balancer")
    alerts.unmark_false(first, by=BY)
    first.refresh_from_db()
    assert (first.false_at, first.false_because) == (None, "")
    with pytest.raises(Forbidden):
        alerts.mark_false(first, by=make.person("vic", "viewer"), because="no")
