"""When a person is told: critical at once, a warning in their hours, the rest once a day; nothing held is lost."""

from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.test import Client
from django.urls import reverse
from hypothesis import given
from hypothesis import strategies as st

from monitoring.actions import escalation_policies, escalations, incidents, notices, outbox, preferences
from monitoring.models import Channel, OutboxMessage
from monitoring.preferences import Preferences, Urgency, When
from monitoring.suppressing import DAYS, Recurrence
from portal.errors import Forbidden, Invalid
from portal.models import User
from tests import make
from tests.make import BY
from tests.monitoring.receiver import Receiver
from tests.pages import seats

WARSAW = ZoneInfo("Europe/Warsaw")
OFFICE = Recurrence(frozenset(range(5)), time(9), time(17), WARSAW)
NIGHT = Recurrence(frozenset(range(7)), time(22), time(7), WARSAW)
CHOSEN = Preferences(WARSAW, OFFICE, NIGHT, time(8))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=WARSAW)


@pytest.mark.parametrize(
    ("urgency", "now", "due"),
    [
        (Urgency.CRITICAL, "2026-11-28T03:00", "2026-11-28T03:00"),  # a Saturday night
        (Urgency.WARNING, "2026-11-27T10:00", "2026-11-27T10:00"),
        (Urgency.WARNING, "2026-11-27T17:00", "2026-11-30T09:00"),
        (Urgency.INFO, "2026-11-27T07:59", "2026-11-27T08:00"),
        (Urgency.INFO, "2026-11-27T08:00", "2026-11-28T08:00"),
        # Over the nights when clocks change it is 09:00 and 08:00 on the wall all the same.
        (Urgency.WARNING, "2026-10-23T18:00", "2026-10-26T09:00"),
        (Urgency.INFO, "2026-03-28T12:00", "2026-03-29T08:00"),
    ],
)
def test_everything_has_its_time(urgency: Urgency, now: str, due: str) -> None:
    assert CHOSEN.due(urgency, at(now)) == at(due)


def test_quiet_hours_hold_back_all_but_what_is_critical() -> None:
    always = Preferences(WARSAW, OFFICE, NIGHT, choices={Urgency.WARNING: When.AT_ONCE, Urgency.INFO: When.NEVER})
    assert always.due(Urgency.WARNING, at("2026-11-27T23:00")) == at("2026-11-28T07:00")
    assert always.due(Urgency.CRITICAL, at("2026-11-27T23:00")) == at("2026-11-27T23:00")
    assert always.due(Urgency.INFO, at("2026-11-27T12:00")) is None


@given(
    st.sampled_from(list(Urgency)),
    st.integers(0, 400_000_000).map(lambda second: datetime(2020, 1, 1, tzinfo=UTC) + timedelta(seconds=second)),
    st.sampled_from(["Europe/Warsaw", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"]).map(ZoneInfo),
)
def test_nothing_comes_before_it_happened_nor_in_quiet_hours_nor_after_four_days(
    urgency: Urgency, now: datetime, zone: ZoneInfo
) -> None:
    quiet = Recurrence(frozenset(range(7)), time(22), time(7), zone)
    due = Preferences(zone, Recurrence(frozenset(range(5)), time(9), time(17), zone), quiet).due(urgency, now)
    assert due is not None
    assert now <= due < now + timedelta(days=4)
    assert urgency is Urgency.CRITICAL or quiet.at(due) is None


@pytest.fixture
def dana(db: None) -> User:
    dana = make.person("dana", "operator", email="dana@example.com")
    Channel.objects.create(name="dana's pager", kind="webhook", config={"url": "https://example.com/"}, owner=dana)
    return dana


def choose(person: User, **fields: Any) -> None:
    preferences.choose(person, {"warning": "daily", "info": "daily", **fields}, by=person)


def told(person: User, severity: str, key: str = "k") -> list[Channel]:
    incident = incidents.open_by_hand("slow", by=BY, severity=severity)
    return notices.tell_person(person, "incident.assigned", f"{key} is slow", key=key, incident=incident)


def test_who_has_chosen_nothing_is_told_everything_at_once(dana: User) -> None:
    told(dana, "SEV4")
    assert OutboxMessage.objects.get().kind == "incident.assigned"


def test_what_waits_is_one_row_that_is_due_and_tells_all_of_it(dana: User, receiver: Receiver, settings: Any) -> None:
    Channel.objects.update(config={"url": receiver.url})
    choose(dana)
    told(dana, "SEV3", "first")
    told(dana, "SEV4", "second")
    told(dana, "SEV4", "second")
    message = OutboxMessage.objects.get()
    assert (message.kind, message.payload["count"]) == (preferences.HELD, 2)
    assert message.due_at > message.created_at
    assert outbox.deliver() == 0
    OutboxMessage.objects.update(due_at=message.created_at)
    assert outbox.deliver() == 1
    assert [b"first is slow" in call.body and b"second is slow" in call.body for call in receiver.calls] == [True]


def test_what_is_critical_and_a_call_of_a_policy_wait_for_nothing(dana: User) -> None:
    choose(dana)
    told(dana, "SEV1")
    steps = [{"delay": 900, "people": ["dana"]}]
    escalation_policies.create("p", {"steps": steps, "is_default": True}, by=BY)
    incidents.open_by_hand("slow", by=BY, severity="SEV4")
    escalations.run_due()
    assert set(OutboxMessage.objects.values_list("kind", flat=True)) == {"incident.assigned", "escalation.step"}


def test_only_the_channels_that_were_chosen_are_used(dana: User) -> None:
    other = Channel.objects.create(name="phone", kind="webhook", config={"url": "https://example.org/"}, owner=dana)
    choose(dana, channels=[other])
    assert told(dana, "SEV1") == [other]
    other.active = False
    other.save()
    assert [one.name for one in told(dana, "SEV1", "k2")] == ["dana's pager"]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"zone": "Mars"}, "zone"),
        ({"days": ["someday"]}, "days"),
        ({"days": [], "warning": "business_hours"}, "days"),
        ({"quiet_from": time(22)}, "quiet_until"),
        ({"warning": "sometimes"}, "warning"),
    ],
)
def test_a_choice_that_makes_no_sense_is_refused_by_its_field(dana: User, fields: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as refusal:
        choose(dana, **fields)
    assert set(refusal.value.errors) == {field}


def test_everybody_chooses_for_themselves_alone(dana: User) -> None:
    with pytest.raises(Forbidden):
        preferences.choose(dana, {"zone": "UTC"}, by=make.person("sam", "captain"))
    stranger = Channel.objects.create(name="ops", kind="webhook", config={"url": "https://example.org/"})
    with pytest.raises(Invalid, match="not a channel of theirs"):
        choose(dana, channels=[stranger])


def test_the_page_saves_what_is_chosen_and_shows_what_waits(dana: User) -> None:
    client: Client = seats.seat(dana)
    form = {
        "zone": "Europe/Warsaw", "warning": "daily", "info": "never", "days": DAYS[:5], "opens": "09:00",
        "closes": "17:00", "digest_at": "08:00", "quiet_from": "22:00", "quiet_until": "07:00",
    }  # fmt: skip
    assert client.post(reverse("my-notifications-save"), form).status_code == 302
    told(dana, "SEV3", "held")
    shown = client.get(reverse("my-notifications")).content.decode()
    assert "held is slow" in shown
    assert 'value="Europe/Warsaw"' in shown
    assert client.post(reverse("my-notifications-save"), form | {"opens": "x"}).status_code == 400
    client.post(reverse("my-notifications-save"), {"forget": "1"})
    assert "everything comes at once" in client.get(reverse("my-notifications")).content.decode()
