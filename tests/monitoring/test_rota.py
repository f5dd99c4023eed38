"""Who is on call, by the wall clock of any zone, on the nights when clocks change too."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.rota import Layer, Override, Rota, Shift
from monitoring.suppressing import Recurrence

WARSAW = ZoneInfo("Europe/Warsaw")
# Half hours, southern summers, a day that was left out, and one that never changes.
ZONES = ("Europe/Warsaw", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Kolkata", "UTC")

zones = st.sampled_from(ZONES).map(ZoneInfo)
wall_times = st.times(max_value=time(23, 59)).map(lambda at: at.replace(second=0, microsecond=0))
moments = st.integers(0, 586_828_800).map(lambda second: datetime(2011, 6, 1, tzinfo=UTC) + timedelta(seconds=second))
people = st.lists(st.sampled_from(["dana", "sam", "olga", "tariq"]), min_size=1, max_size=4, unique=True)


@st.composite
def layers(draw: st.DrawFn, *, restricted: bool = False) -> Layer:
    zone = draw(zones)
    days = draw(st.frozensets(st.integers(0, 6), min_size=1))
    hours = (Recurrence(days, draw(wall_times), draw(wall_times), zone),) if restricted else ()
    begins = draw(st.dates(date(2011, 1, 1), date(2029, 12, 31)))
    return Layer(draw(people), begins, draw(wall_times), zone, draw(st.sampled_from((1, 7))), hours)


def weekly(*names: str, at: time = time(9), starts_on: date = date(2026, 10, 5), days: int = 7) -> Layer:
    return Layer(names, starts_on, at, WARSAW, days)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=WARSAW)


@given(layers(), moments, st.integers(1, 400))
def test_shifts_follow_each_other_without_gap_or_overlap(layer: Layer, since: datetime, hours: int) -> None:
    until = since + timedelta(hours=hours)
    shifts = Rota([layer]).shifts(since, until)
    assert (shifts[0].starts_at, shifts[-1].ends_at) == (since, until)
    assert all(one.starts_at < one.ends_at for one in shifts)
    for one, following in zip(shifts, shifts[1:], strict=False):
        assert one.ends_at == following.starts_at
        assert one.person != following.person


@given(layers(), st.integers(0, 900))
def test_a_hand_over_is_at_its_time_on_the_wall_whatever_the_clocks_do(layer: Layer, turn: int) -> None:
    begins = layer.begins(turn)
    wall = begins.astimezone(layer.zone)
    day = layer.starts_on + timedelta(days=turn * layer.days)
    exists = datetime.combine(day, layer.handover, layer.zone).astimezone(UTC).astimezone(layer.zone)
    if exists.replace(tzinfo=None) == datetime.combine(day, layer.handover):
        assert (wall.date(), wall.time()) == (day, layer.handover)
    # Left out by clocks that go forward (an hour), or by a date that was (a day): later, never earlier.
    assert timedelta(0) <= wall.replace(tzinfo=None) - datetime.combine(day, layer.handover) <= timedelta(days=1)
    assert layer.begins(turn) <= layer.begins(turn + 1)


@given(layers(), moments)
def test_everybody_has_the_turn_that_is_theirs(layer: Layer, moment: datetime) -> None:
    turn = layer.turn(moment)
    assert layer.begins(turn) <= moment < layer.begins(turn + 1)
    expected = None if turn < 0 else layer.people[turn % len(layer.people)]
    assert layer.on_call(moment) == expected


@given(layers(restricted=True), layers(), moments, st.data())
def test_what_the_calendar_shows_is_who_is_called(
    first: Layer, second: Layer, since: datetime, data: st.DataObject
) -> None:
    overrides = []
    for _ in range(data.draw(st.integers(0, 3))):
        start = since + timedelta(minutes=data.draw(st.integers(-3000, 9000)))
        overrides.append(Override("zoe", start, start + timedelta(minutes=data.draw(st.integers(1, 3000)))))
    rota = Rota([first, second], overrides)
    moment = since + timedelta(minutes=data.draw(st.integers(0, 7 * 1440 - 1)))
    shifts = rota.shifts(since, since + timedelta(days=7))
    found = next(one for one in shifts if one.starts_at <= moment < one.ends_at)
    assert found.person == rota.on_call(moment)
    assert (found.person == "zoe") == any(one.starts_at <= moment < one.ends_at for one in overrides)


@pytest.mark.parametrize(
    ("night", "hours"),
    [
        ("2026-10-25", 25),  # clocks go back
        ("2026-03-29", 23),  # clocks go forward
        ("2026-06-14", 24),
    ],
)
def test_a_daily_turn_over_the_night_when_clocks_change(night: str, hours: int) -> None:
    """Invariant 22."""
    layer = weekly("dana", "sam", days=1, starts_on=date(2026, 1, 1))
    day = date.fromisoformat(night)
    shifts = Rota([layer]).shifts(at(f"{day - timedelta(days=1)}T09:00"), at(f"{day}T09:00"))
    assert [one.ends_at - one.starts_at for one in shifts] == [timedelta(hours=hours)]


def test_a_hand_over_in_the_hour_that_is_left_out_or_comes_twice_happens_once() -> None:
    layer = weekly("dana", "sam", at=time(2, 30), days=1, starts_on=date(2026, 3, 28))
    shifts = Rota([layer]).shifts(at("2026-03-28T12:00"), at("2026-03-30T12:00"))
    assert [f"{one.starts_at.astimezone(WARSAW):%d %H:%M} {one.person}" for one in shifts] == [
        "28 12:00 dana",
        "29 03:30 sam",
        "30 02:30 dana",
    ]
    shifts = Rota([layer]).shifts(at("2026-10-24T12:00"), at("2026-10-26T12:00"))
    assert [f"{one.starts_at:%d %H:%M}" for one in shifts[1:]] == ["25 00:30", "26 01:30"]


def test_the_first_layer_that_has_somebody_decides() -> None:
    office = Recurrence(frozenset(range(5)), time(9), time(17), WARSAW)
    day = Layer(("dana",), date(2026, 10, 5), time(9), WARSAW, 7, (office,))
    rota = Rota([day, weekly("sam")])
    assert rota.on_call(at("2026-10-07T12:00")) == "dana"
    assert rota.on_call(at("2026-10-07T17:00")) == "sam"
    assert rota.on_call(at("2026-10-10T12:00")) == "sam"  # Saturday


def test_nobody_is_on_call_before_the_first_turn_and_in_an_empty_rota() -> None:
    assert weekly("dana").on_call(at("2026-10-05T08:59")) is None
    assert weekly("dana").on_call(at("2026-10-05T09:00")) == "dana"
    assert Rota([]).on_call(at("2026-10-05T09:00")) is None


def test_of_two_that_stand_in_the_last_one_counts_and_the_rota_goes_on_behind_them() -> None:
    overrides = [
        Override("olga", at("2026-10-06T10:00"), at("2026-10-06T14:00")),
        Override("tariq", at("2026-10-06T12:00"), at("2026-10-06T13:00")),
    ]
    shifts = Rota([weekly("dana")], overrides).shifts(at("2026-10-06T09:00"), at("2026-10-06T18:00"))
    assert [(one.person, one.is_override) for one in shifts] == [
        ("dana", False),
        ("olga", True),
        ("tariq", True),
        ("olga", True),
        ("dana", False),
    ]
    assert isinstance(shifts[0], Shift)
