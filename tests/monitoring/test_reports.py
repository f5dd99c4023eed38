"""Reports: each period once, by the clock of whoever gets them, of what they may see, and never rewritten."""

import json
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from pytest_django.fixtures import Settings

from feedback.actions import entries
from monitoring import sections
from monitoring.actions import capacities, channels, incidents, outbox, report_subscriptions, reports, slos, thresholds
from monitoring.models import Channel, Incident, OutboxMessage, Report, ReportSubscription
from monitoring.sections import figure
from portal import jobs
from portal.errors import Forbidden, Invalid, Refused
from portal.models import User
from rollouts.actions import deployments
from tests import make
from tests.make import BY
from tests.monitoring import mailserver
from tests.monitoring.doors import Caller, fields
from tests.pages import seats

pytestmark = pytest.mark.django_db
WARSAW = ZoneInfo("Europe/Warsaw")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.fixture
def vic() -> User:
    make.service()
    make.environment()
    return make.person("vic", "viewer", email="vic@example.com")


def subscribe(person: User, **given: Any) -> ReportSubscription:
    """Due at once, whatever the clock says."""
    asked = {"period": "daily", "at": time(8), "zone": "Europe/Warsaw"} | given
    return report_subscriptions.create(person, asked, by=person)


def due(subscription: ReportSubscription, moment: datetime) -> None:
    ReportSubscription.objects.filter(pk=subscription.pk).update(due_at=moment)


# --- A figure -----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("value", "before", "better", "trend", "effect"),
    [
        (10, 5, "lower", "rising", "worse"),
        (10, 5, "higher", "rising", "better"),
        (5, 10, "lower", "falling", "better"),
        (5, 10, "", "falling", "neutral"),
        (100, 101, "lower", "stable", "neutral"),
        (0, 0, "lower", "stable", "neutral"),
        (1, 0, "lower", "rising", "worse"),
        (1, None, "lower", "", ""),
        (None, 3, "lower", "", ""),
    ],
)
def test_a_figure_beside_what_it_was(
    value: float | None, before: float | None, better: str, trend: str, effect: str
) -> None:
    found = figure("x", value, before, words=sections.count, better=better)
    assert (found.trend, found.effect) == (trend, effect)
    if value is None:
        assert found.value == "not known"


# --- When ---------------------------------------------------------------------------------------
def test_a_day_is_the_calendars_own_where_it_has_23_or_25_hours(vic: User) -> None:
    daily = subscribe(vic)
    since, until = reports.period_before(daily, at("2026-03-30T06:00:00Z"))
    assert (since.astimezone(UTC), until.astimezone(UTC)) == (at("2026-03-28T23:00:00Z"), at("2026-03-29T22:00:00Z"))
    since, until = reports.period_before(daily, at("2026-10-26T07:00:00Z"))
    assert until.astimezone(UTC) - since.astimezone(UTC) == timedelta(hours=25)


def test_a_week_is_from_monday_to_monday_whatever_the_day_it_comes_on(vic: User) -> None:
    weekly = subscribe(vic, period="weekly", weekday=2)
    since, until = reports.period_before(weekly, at("2026-03-11T08:00:00Z"))  # a Wednesday
    assert (since, until) == (datetime(2026, 3, 2, tzinfo=WARSAW), datetime(2026, 3, 9, tzinfo=WARSAW))
    assert reports.next_due(weekly, after=at("2026-03-11T08:00:00Z")) == datetime(2026, 3, 18, 8, tzinfo=WARSAW)


@pytest.mark.parametrize("hour", [time(2, 30), time(2), time(3), time(0), time(23, 59)])
@pytest.mark.parametrize("day", ["2026-03-27", "2026-10-23"])
def test_over_a_change_of_the_clock_each_day_has_exactly_one(vic: User, hour: time, day: str) -> None:
    """02:30 is not there on one of these nights, and comes twice on another."""
    daily = subscribe(vic, at=hour, by_mail=False)
    due(daily, reports.next_due(daily, after=at(f"{day}T00:00:00Z")))
    for minutes in range(0, 96 * 60, 30):
        reports.send_due(now=at(f"{day}T00:00:00Z") + timedelta(minutes=minutes))
    days = [one.until.astimezone(WARSAW).date() for one in Report.objects.order_by("until")]
    assert days == [days[0] + timedelta(days=n) for n in range(len(days))]
    assert len(days) >= 3


# --- Made once, and kept ------------------------------------------------------------------------
def test_it_comes_once_by_letter_and_as_a_page(vic: User) -> None:
    daily = subscribe(vic)
    due(daily, at("2026-03-10T07:00:00Z"))
    assert reports.send_due(now=at("2026-03-10T06:59:59Z")) == 0
    assert reports.send_due(now=at("2026-03-10T07:00:00Z")) == 1
    assert reports.send_due(now=at("2026-03-10T07:30:00Z")) == 0
    message, report = OutboxMessage.objects.get(), Report.objects.get()
    assert message.dedupe_key == f"report.daily:{daily.pk}:20260309T2300Z:{message.channel_id}"
    assert message.payload["report"] == report.pk
    assert report.content["title"] == "Day of 09 March 2026"


def test_two_sweeps_at_once_make_one(vic: User) -> None:
    daily = subscribe(vic)
    now = jobs.database_now()
    until = reports.period_before(daily, now)[1]
    first = reports.make(daily, until=until, now=now)
    assert reports.make(daily, until=until, now=now) == first
    assert reports.make_now(daily, by=vic) == first
    with pytest.raises(IntegrityError), transaction.atomic():
        Report.objects.create(
            subscription=daily, person=vic, period="daily", since=first.since, until=until, zone="UTC", services=[],
            content={}, sha256="",
        )  # fmt: skip


def test_after_an_outage_what_was_missed_is_there_and_only_what_is_new_is_sent(vic: User) -> None:
    daily = subscribe(vic)
    due(daily, at("2026-03-05T07:00:00Z"))
    while reports.send_due(now=at("2026-03-10T12:00:00Z")):
        pass
    assert Report.objects.count() == 6
    assert OutboxMessage.objects.count() == 2


def test_a_report_cannot_be_rewritten(vic: User) -> None:
    report = reports.make_now(subscribe(vic), by=vic)
    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
        Report.objects.filter(pk=report.pk).update(content={})
    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
        Report.objects.filter(pk=report.pk).delete()


def test_one_section_that_fails_does_not_keep_the_others_from_theirs(
    vic: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, fine = subscribe(vic), subscribe(make.person("olu", "viewer"))
    due(broken, at("2026-03-10T07:00:00Z"))
    due(fine, at("2026-03-10T07:00:01Z"))

    def teller(scope: sections.Scope) -> sections.Section:
        if scope.person == vic:
            raise RuntimeError("no")
        return sections.Section("Fine")

    monkeypatch.setitem(sections._tellers, "health", (10, teller))
    reports.send_due(now=at("2026-03-10T07:00:02Z"))
    assert [one.person.username for one in Report.objects.all()] == ["olu"]
    broken.refresh_from_db()
    assert broken.due_at == at("2026-03-10T07:10:02Z")


# --- What it tells ------------------------------------------------------------------------------
def _everything() -> None:
    place = {"service": "checkout", "environment": "staging"}
    incidents.open_by_hand(
        "checkout fails", by=BY, service=make.service(), environment=make.environment(), severity="SEV2"
    )
    incidents.open_by_hand(
        "secret of payments", by=BY, service=make.service("payments"), environment=make.environment(), severity="SEV2"
    )
    make.progressing()
    entries.submit(service="checkout", environment="staging", by=BY, rating=2, text="slow, and then it failed")
    spec = {"name": "errors", "metric": "errors_total", "denominator": "requests_total", "operator": ">", "error": 0.5}
    thresholds.create({**spec, "window": 60, "matchers": place}, by=BY)
    slos.create("up", {"name": "up", "kind": "uptime", "metric": "up", "objective": 99.0, "matchers": place}, by=BY)
    capacities.create("disk", {"name": "disk", "metric": "disk", "limit": 5.0, "matchers": place}, by=BY)


def _tomorrow(subscription: ReportSubscription) -> Report:
    """The report of today, made when the day is over."""
    # A day later on their clock, which is not always 24 hours.
    now = jobs.database_now().astimezone(WARSAW) + timedelta(days=1)
    return reports.make(subscription, until=reports.period_before(subscription, now)[1], now=now)


def test_it_tells_of_everything_that_the_person_may_see(vic: User) -> None:
    _everything()
    make.measured("requests_total", 0, 100, 200, ago=0, every=1, service="checkout", environment="staging")
    make.measured("errors_total", 0, 2, 4, ago=0, every=1, service="checkout", environment="staging")
    told = {one["key"]: one for one in _tomorrow(subscribe(vic)).content["sections"]}
    assert list(told) == [
        "health", "deployments", "incidents", "objectives", "errors", "feedback", "limits",
    ]  # fmt: skip
    assert {one["label"]: one["value"] for one in told["incidents"]["figures"]}["Opened"] == "2"
    assert told["errors"]["figures"][0]["value"] == "2.00%"
    assert told["feedback"]["items"][0]["text"] == "slow, and then it failed"
    assert told["limits"]["items"][0]["state"] == "unknown"
    assert told["deployments"]["items"][0]["state"] == "progressing"


def test_it_tells_of_nothing_else() -> None:
    _everything()
    narrow = make.person("nia", "viewer", service=make.service("payments"))
    text = json.dumps(_tomorrow(subscribe(narrow)).content)
    assert "secret of payments" in text
    assert "checkout" not in text
    elsewhere = make.person("eve", "viewer", environment=make.environment("lab"))
    text = json.dumps(_tomorrow(subscribe(elsewhere)).content)
    assert "checkout fails" not in text
    assert "slow, and then it failed" not in text


def test_who_loses_the_service_loses_the_report(vic: User) -> None:
    report = reports.make_now(subscribe(vic), by=vic)
    client = seats.seat(vic)
    assert client.get(reverse("report", args=[report.pk])).status_code == 200
    vic.grants.all().delete()
    make.service("payments")
    vic.grants.create(role="viewer", service=make.service("payments"))
    assert client.get(reverse("report", args=[report.pk])).status_code == 404


@pytest.mark.parametrize("left", ["staging", "nothing"])
def test_who_loses_an_environment_loses_what_was_told_of_it(left: str) -> None:
    """By every door; what is made from then on tells of the rest."""
    service, staging, production = make.service(), make.environment(), make.environment("production")
    nia = make.person("nia", "viewer", environment=staging, is_staff=True, email="nia@example.com")
    grant = nia.grants.create(role="viewer", environment=production)
    daily = subscribe(nia)
    wide = reports.make_now(daily, by=nia)
    assert wide.places == {"staging": [service.key], "production": [service.key]}
    due(daily, jobs.database_now() - timedelta(seconds=1))
    client = seats.seat(nia)
    pages = [reverse("report", args=[wide.pk]), reverse("admin:monitoring_report_change", args=[wide.pk])]
    assert [client.get(page).status_code for page in pages] == [200, 200]
    (grant if left == "staging" else nia.grants.all()).delete()
    nia = User.objects.get(pk=nia.pk)
    client = seats.seat(nia)
    assert all(client.get(page).status_code != 200 for page in pages)
    assert list(reports.visible(nia)) == []
    with pytest.raises(Refused, match="may not be seen any more"):
        reports.make_now(daily, by=nia)
    assert reports.send_due() == 1
    assert not OutboxMessage.objects.exists()  # nor does the letter tell of it
    narrow = _tomorrow(ReportSubscription.objects.get())
    assert list(reports.visible(nia)) == [narrow]
    assert narrow.places == ({"staging": [service.key]} if left == "staging" else {})


def test_reports_of_before_places_were_kept_are_for_who_sees_every_place(vic: User) -> None:
    made = reports.make_now(subscribe(vic), by=vic)
    nia = make.person("nia", "viewer", environment=make.environment())
    for person in (vic, nia):
        Report.objects.create(
            subscription=made.subscription, person=person, period="daily", since=made.since, zone="UTC", services=[],
            until=made.until + timedelta(days=person.pk), content={}, sha256="",
        )  # fmt: skip
    assert reports.visible(vic).count() == 2
    assert reports.visible(nia).count() == 0


def test_scores_are_held_against_the_last_report(vic: User) -> None:
    daily = subscribe(vic)
    _everything()
    make.measured("requests_total", 0, 100, 200, ago=0, every=1, service="checkout", environment="staging")
    now = jobs.database_now()
    first = reports.make(daily, until=reports.period_before(daily, now)[1], now=now)
    data = {one["key"]: one["data"] for one in first.content["sections"]}
    assert "checkout in staging" in data["health"]
    second = _tomorrow(daily)
    assert second.content["sections"][0]["figures"][0]["label"] == "checkout in staging"


def test_the_letter_is_readable_without_html(vic: User, settings: Settings) -> None:
    _everything()
    with mailserver.running() as box:
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", box.port
        daily = subscribe(vic)
        due(daily, jobs.database_now() - timedelta(seconds=1))
        assert reports.send_due() == 1
        outbox.deliver()
        [letter] = box.letters
    text = letter.get_body(("plain",))
    page = letter.get_body(("html",))
    assert text is not None
    assert page is not None
    assert letter["Subject"].startswith("Flightdeck: Day of ")
    assert "INCIDENTS" in text.get_content()
    assert f"/reports/{Report.objects.get().pk}/" in text.get_content()
    assert "<h3>Incidents</h3>" in page.get_content()


def test_it_goes_to_ones_own_mailbox(vic: User) -> None:
    channels.create({"name": "vics", "kind": "email", "config": {"to": "other@example.com"}, "owner": vic}, by=BY)
    daily = subscribe(vic)
    due(daily, jobs.database_now() - timedelta(seconds=1))
    reports.send_due()
    assert OutboxMessage.objects.get().channel == Channel.objects.get(name="vics")


# --- Who takes one ------------------------------------------------------------------------------
def test_everybody_for_themselves(vic: User) -> None:
    daily = subscribe(vic)
    other = make.person("olu", "captain")
    for act in (
        lambda: report_subscriptions.create(vic, {}, by=other),
        lambda: report_subscriptions.change(daily, {"period": "weekly"}, by=other),
        lambda: report_subscriptions.delete(daily, by=other),
        lambda: reports.make_now(daily, by=other),
    ):
        with pytest.raises(Forbidden):
            act()
    report_subscriptions.change(daily, {"period": "weekly"}, by=make.person("ann", "owner"))
    report_subscriptions.delete(daily, by=vic)
    with pytest.raises(Refused, match="has ended"):
        reports.make_now(daily, by=vic)
    assert reports.send_due(now=jobs.database_now() + timedelta(days=30)) == 0


def test_every_fault_is_named(vic: User) -> None:
    wrong = {"period": "hourly", "weekday": 7, "zone": "Mars", "services": ["nothing"], "environment": "x", "at": "8"}
    with pytest.raises(Invalid) as refused:
        report_subscriptions.create(vic, wrong, by=vic)
    assert set(refused.value.errors) == set(wrong)
    narrow = make.person("nia", "viewer", service=make.service("payments"))
    with pytest.raises(Invalid) as refused:
        report_subscriptions.create(narrow, {"services": ["checkout"]}, by=narrow)
    assert set(refused.value.errors) == {"services"}


def test_by_rest(vic: User) -> None:
    call = Caller("admin")
    status, body = call.post("report-subscriptions/", {"period": "daily"})
    assert (status, fields(body)) == (400, {"person"})
    status, body = call.post("report-subscriptions/", {"person": "vic", "period": "daily", "at": "07:30"})
    assert (status, body["at"], body["zone"]) == (201, "07:30", "UTC")
    status, report = call.post(f"report-subscriptions/{body['id']}/make/")
    assert (status, report["person"]) == (200, "vic")
    assert call.get("reports/")["count"] == 1
    assert call.get(f"reports/{report['id']}/")["sections"] == report["sections"]
    assert Caller("read").get("reports/")["count"] == 0
    assert Caller("write").post("report-subscriptions/", {"person": "vic"})[0] == 403
    assert call("DELETE", f"report-subscriptions/{body['id']}/")[0] == 204
    assert call.get(f"reports/{report['id']}/")["id"] == report["id"]


def test_on_pages(vic: User) -> None:
    client = seats.seat(vic)
    client.post(
        reverse("report-subscribe"),
        {"period": "weekly", "weekday": "0", "at": "08:00", "zone": "Europe/Warsaw", "by_mail": "1"},
    )
    subscription = ReportSubscription.objects.get()
    made = client.post(reverse("report-press", args=[subscription.pk, "make"]))
    assert made["Location"] == reverse("report", args=[Report.objects.get().pk])
    assert "Releases and deployments" in client.get(made["Location"]).content.decode()
    assert "Week of" in client.get(reverse("reports")).content.decode()
    other = seats.seat(make.person("olu", "captain"))
    assert other.get(made["Location"]).status_code == 404
    assert other.post(reverse("report-press", args=[subscription.pk, "end"])).status_code == 404
    client.post(reverse("report-press", args=[subscription.pk, "end"]))
    assert not ReportSubscription.objects.active().exists()


def test_it_costs_the_same_for_two_incidents_and_twelve(vic: User) -> None:
    daily, costs = subscribe(vic), []
    for upto in (2, 12):
        while Incident.objects.count() < upto:
            incidents.open_by_hand("it fails", by=BY, service=make.service(), environment=make.environment())
        day = at("2026-03-10T00:00:00Z") + timedelta(days=upto)
        with CaptureQueriesContext(connection) as queries:
            reports.make(daily, until=day, now=jobs.database_now())
        costs.append(len(queries))
    assert costs[1] <= costs[0]  # the person's grants are known the second time


def test_a_deployment_is_told_as_it_stands(vic: User) -> None:
    taken_back = make.progressing()
    deployments.roll_back(taken_back, by=BY, because="errors")
    make.reconciled(taken_back)
    told = {one["key"]: one for one in _tomorrow(subscribe(vic)).content["sections"]}
    lines = {one["label"]: one["value"] for one in told["deployments"]["figures"]}
    assert (lines["Deployments"], lines["Taken back"], lines["Failure rate"]) == ("1", "1", "100.00%")
