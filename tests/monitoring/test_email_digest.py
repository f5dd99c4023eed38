"""The digest of the day: once for each recipient, at its own hour, telling what happened since the last."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pytest_django.fixtures import Settings

from monitoring import tasks
from monitoring.actions import channels, digest, outbox
from monitoring.models import Alert, Channel, Incident, OutboxMessage, Threshold
from portal import audit, jobs
from portal.audit import Automaton
from portal.models import AuditEntry
from tests import make
from tests.monitoring import mailserver

pytestmark = pytest.mark.django_db
BY = Automaton("test")


def channel(name: str = "ops", **config: Any) -> Channel:
    fields = {"name": name, "kind": "email", "config": {"to": f"{name}@example.com", "digest": True, **config}}
    made = channels.create(fields, by=BY)
    Channel.objects.filter(pk=made.pk).update(created_at=datetime(2020, 1, 1, tzinfo=UTC))
    return made


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def due(now: str, **config: Any) -> datetime:
    return digest.due_at(channel(**config), now=at(now))


# --- When ---------------------------------------------------------------------------------------
def test_it_goes_out_once_a_day_at_eight_however_often_the_sweep_runs() -> None:
    channel()
    assert digest.send_due(now=at("2026-03-10T07:59:59Z")) == 1, "yesterday's, which nobody has had yet"
    assert digest.send_due(now=at("2026-03-10T08:00:00Z")) == 1
    for hour in range(8, 24):
        assert digest.send_due(now=at(f"2026-03-10T{hour:02}:30:00Z")) == 0
    assert digest.send_due(now=at("2026-03-11T08:00:00Z")) == 1
    assert list(OutboxMessage.objects.order_by("id").values_list("payload__date", flat=True)) == [
        "2026-03-09", "2026-03-10", "2026-03-11",
    ]  # fmt: skip


def test_it_keeps_to_the_wall_clock_when_summer_time_begins_and_ends() -> None:
    assert due("2026-03-28T12:00:00Z", zone="Europe/Warsaw").astimezone(UTC) == at("2026-03-28T07:00:00Z")
    assert due("2026-03-29T12:00:00Z", name="b", zone="Europe/Warsaw").astimezone(UTC) == at("2026-03-29T06:00:00Z")
    assert due("2026-10-25T12:00:00Z", name="c", zone="Europe/Warsaw").astimezone(UTC) == at("2026-10-25T07:00:00Z")


@pytest.mark.parametrize("hour", ["02:30", "02:00", "03:00", "00:00", "23:59"])
@pytest.mark.parametrize("day", ["2026-03-28", "2026-10-24"])
def test_over_a_change_of_the_clock_each_day_has_exactly_one(hour: str, day: str) -> None:
    """02:30 is not there on one of these nights, and comes twice on another."""
    channel(zone="Europe/Warsaw", digest_at=hour)
    began = at(f"{day}T00:00:00Z")
    for minutes in range(0, 72 * 60, 10):
        digest.send_due(now=began + timedelta(minutes=minutes))
    dates = list(OutboxMessage.objects.order_by("id").values_list("payload__date", flat=True))
    assert len(dates) == len(set(dates))
    first, last = (datetime.fromisoformat(date) for date in (dates[0], dates[-1]))
    assert (last - first).days == len(dates) - 1 >= 2, dates


def test_the_portals_zone_counts_where_the_channel_names_none(settings: Settings) -> None:
    settings.PORTAL_ZONE = "America/New_York"
    assert due("2026-01-10T20:00:00Z").astimezone(UTC) == at("2026-01-10T13:00:00Z")


def test_a_channel_made_after_its_hour_gets_its_first_tomorrow() -> None:
    made = channel()
    Channel.objects.update(created_at=at("2026-03-10T09:00:00Z"))
    assert digest.send_due(now=at("2026-03-10T10:00:00Z")) == 0
    assert digest.send_due(now=at("2026-03-11T08:00:01Z")) == 1
    assert OutboxMessage.objects.get().channel == made


def test_only_those_who_asked_get_one() -> None:
    channels.create({"name": "plain", "kind": "email", "config": {"to": "a@example.com"}}, by=BY)
    channels.create({"name": "no", "kind": "email", "config": {"to": "a@example.com", "digest": False}}, by=BY)
    channels.create({"name": "hook", "kind": "webhook", "config": {"url": "https://example.com/"}}, by=BY)
    off = channel("off")
    channels.change(off, {"active": False}, by=BY)
    Channel.objects.update(created_at=at("2020-01-01T00:00:00Z"))
    assert digest.send_due(now=at("2026-03-10T08:00:00Z")) == 0


def test_the_sweep_sends_it() -> None:
    channel()
    assert tasks.send_digests() == 1
    assert tasks.send_digests() == 0


# --- What ---------------------------------------------------------------------------------------
def test_after_an_outage_it_tells_of_the_days_that_were_missed() -> None:
    channel()
    digest.send_due(now=at("2026-03-10T08:00:00Z"))
    digest.send_due(now=at("2026-03-13T11:00:00Z"))
    digest.send_due(now=at("2026-04-20T11:00:00Z"))
    spans = [(one.payload["since"], one.payload["until"]) for one in OutboxMessage.objects.order_by("id")]
    assert spans == [
        ("2026-03-09T08:00:00+00:00", "2026-03-10T08:00:00+00:00"),
        ("2026-03-10T08:00:00+00:00", "2026-03-13T08:00:00+00:00"),
        ("2026-04-13T08:00:00+00:00", "2026-04-20T08:00:00+00:00"),
    ]


@pytest.fixture
def yesterday() -> datetime:
    """An eventful day, until now."""
    now = jobs.database_now()
    shop, production = make.service("shop"), make.production()
    incident = Incident.objects.create(
        group_key="g", title="errors <on> shop", severity="SEV1", service=shop, environment=production,
        opened_at=now - timedelta(hours=2),
    )  # fmt: skip
    threshold = Threshold.objects.create(name="errors", metric="errors", aggregation="avg", operator=">", error=1.0)
    for number, (status, resolved) in enumerate([("firing", None), ("resolved", now - timedelta(hours=1))]):
        Alert.objects.create(
            threshold=threshold, group=str(number), status=status, level="error", reason="7 % > 2 %", incident=incident,
            service=shop, environment=production, started_at=now - timedelta(hours=3),
            fired_at=now - timedelta(hours=2), resolved_at=resolved,
        )  # fmt: skip
    Alert.objects.create(
        threshold=threshold, group="old", status="resolved", level="error", reason="long ago",
        started_at=now - timedelta(days=9), fired_at=now - timedelta(days=9), resolved_at=now - timedelta(days=8),
    )  # fmt: skip
    audit.record("deployment.succeeded", shop, by=BY)
    audit.record("deployment.rolled_back", shop, by=BY, because="errors 7 % > 2 %")
    audit.record("deployment.progressing", shop, by=BY)
    return now


def test_it_tells_of_incidents_alerts_and_how_deployments_ended(yesterday: datetime, settings: Settings) -> None:
    settings.EMAIL_BACKEND = "monitoring.channels.smtp.Backend"
    hour = (yesterday + timedelta(minutes=1)).strftime("%H:%M")
    channel(digest_at=hour)
    assert digest.send_due(now=yesterday + timedelta(minutes=1)) == 1
    told = OutboxMessage.objects.get().payload
    assert told["text"].endswith("1 open incident, 2 alerts fired, 1 deployment rolled back, 1 deployment succeeded")
    assert (told["opened"], told["alerts_resolved"]) == (1, 1)
    with mailserver.running() as box:
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", box.port
        outbox.deliver()
    letter = box.letters[0]
    assert letter["To"] == "ops@example.com"
    assert "1 open incident" in letter["Subject"]
    plain, html = letter.get_body(("plain",)), letter.get_body(("html",))
    assert plain is not None
    assert html is not None
    text = plain.get_content()
    assert "- SEV1 errors <on> shop (triggered, shop in production)" in text
    assert "- error errors on shop in production: 7 % > 2 % (firing)" in text
    assert "- shop rolled back by test: errors 7 % > 2 %" in text
    assert "progressing" not in text
    assert "long ago" not in text
    assert "errors &lt;on&gt; shop" in html.get_content()


def test_its_times_are_the_readers_own() -> None:
    channel(zone="Europe/Warsaw")
    digest.send_due(now=at("2026-03-29T12:00:00Z"))
    assert OutboxMessage.objects.get().payload["span"] == "28 Mar 08:00 to 29 Mar 08:00 (Europe/Warsaw)"


def test_a_channel_that_cannot_be_served_costs_the_others_nothing() -> None:
    broken = channel("broken")
    Channel.objects.filter(pk=broken.pk).update(config={"to": "a@example.com", "digest": True, "zone": "Mars/Olympus"})
    channel("well")
    assert digest.send_due(now=at("2026-03-10T08:00:00Z")) == 1


def test_a_quiet_day_is_told_too() -> None:
    channel()
    digest.send_due(now=at("2026-03-10T08:00:00Z"))
    assert OutboxMessage.objects.get().payload["text"] == "Flightdeck on 10 March: no open incidents"


def test_the_verbs_that_it_reads_are_those_that_deployments_write() -> None:
    deployment = make.deployment()
    assert f"{deployment._meta.model_name}.rolled_back" == "deployment.rolled_back"
    assert {"succeeded", "rolled_back", "rejected", "cancelled"} <= set(type(deployment).MOVES)
    assert AuditEntry.objects.filter(object_type=deployment._meta.label_lower).exists()
