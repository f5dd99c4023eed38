"""Alerts from Alertmanager's webhook and from a Prometheus: they fire, open incidents and end as our own do."""

from datetime import datetime, timedelta
from typing import Any

import orjson
import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from monitoring.actions import alerts, incidents, judging, reported, silences
from monitoring.models import Alert, Incident, Rejection, ReportedAlert, Threshold
from portal import jobs
from portal.audit import Automaton
from tests import make
from tests.monitoring.watching import LABELS, place

pytestmark = pytest.mark.django_db
BY = Automaton("test")
HOOK, API = "/ingest/alertmanager", "/ingest/alertmanager/api/v2/alerts"
Alerts = list[dict[str, Any]]


class Sender:
    """With a key for everything that it may send."""

    def __init__(self, *scopes: str, **where: Any) -> None:
        self.headers = {"Authorization": f"Bearer {make.key(*(scopes or ('ingest',)), **where)}"}
        self.now: datetime = jobs.database_now()

    def at(self, seconds: float) -> str:
        return (self.now + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")

    def alert(self, start: float = -60, end: float | None = None, **labels: str) -> dict[str, Any]:
        """Firing until `end`, or without one."""
        return {
            "labels": {"alertname": "HighErrors", "severity": "critical", **LABELS, **labels},
            "annotations": {"summary": "too many errors"},
            "startsAt": self.at(start),
            **({"endsAt": self.at(end)} if end is not None else {}),
            "generatorURL": "http://prometheus/graph",
        }

    def send(self, path: str, body: Any) -> tuple[int, str]:
        answer = Client().post(path, orjson.dumps(body), content_type="application/json", headers=self.headers)
        return answer.status_code, answer.content.decode()

    def hook(self, *sent: Any, truncated: int = 0) -> tuple[int, str]:
        """As a webhook of version 4, with fields that newer versions have."""
        found = [_as_sent(one) for one in sent]
        body = {
            "version": "4", "status": "firing", "alerts": found, "groupKey": "{}:{}", "truncatedAlerts": truncated,
            "notification_reason": "new", "receiver": "flightdeck",
        }  # fmt: skip
        return self.send(HOOK, body)

    def post(self, *sent: dict[str, Any]) -> tuple[int, str]:
        return self.send(API, list(sent))


def _as_sent(one: Any) -> Any:
    return {"endsAt": "0001-01-01T00:00:00Z", "fingerprint": "00ff", **one} if isinstance(one, dict) else one


def firing(one: dict[str, Any]) -> dict[str, Any]:
    return {**one, "status": "firing"}


def resolved(one: dict[str, Any], at: str) -> dict[str, Any]:
    return {**one, "status": "resolved", "endsAt": at}


@pytest.fixture
def sender() -> Sender:
    place()
    return Sender()


# --- The webhook --------------------------------------------------------------------------------
def test_a_firing_alert_opens_an_incident_and_its_end_resolves_it(sender: Sender) -> None:
    one = sender.alert()
    assert sender.hook(firing(one)) == (200, "")
    incident, alert = Incident.objects.get(), Alert.objects.get()
    assert (incident.severity, incident.status) == ("SEV1", "triggered")
    assert incident.title == "HighErrors: critical on checkout in staging"
    assert (alert.level, alert.reason, alert.labels["alertname"]) == ("critical", "too many errors", "HighErrors")
    assert alert.started_at == datetime.fromisoformat(one["startsAt"])
    assert sender.hook(resolved(one, sender.at(-1))) == (200, "")
    incident.refresh_from_db()
    alert.refresh_from_db()
    assert (incident.status, alert.status) == ("resolved", "resolved")


def test_what_is_sent_again_or_late_changes_nothing(sender: Sender) -> None:
    one = sender.alert()
    for _ in range(3):
        assert sender.hook(firing(one))[0] == 200
    for _ in range(2):
        assert sender.hook(resolved(one, sender.at(-1)))[0] == 200
    assert sender.hook(firing(one))[0] == 200  # overtaken on its way
    assert Alert.objects.get().status == "resolved"
    assert Incident.objects.count() == 1
    # The next time it begins is news, and the first one's end no longer concerns it.
    again = firing(sender.alert(start=-5))
    assert sender.hook(again)[0] == 200
    assert sender.hook(resolved(one, sender.at(-1)))[0] == 200
    assert sorted(Alert.objects.values_list("status", flat=True)) == ["firing", "resolved"]
    assert Incident.objects.count() == 2


def test_an_incident_that_a_person_ended_opens_anew_while_the_alert_is_reported(sender: Sender) -> None:
    sender.hook(firing(sender.alert()))
    incidents.resolve(Incident.objects.get(), by=BY, because="I think it is over", despite_alerts=True)
    sender.hook(firing(sender.alert()))
    assert [one.status for one in Incident.objects.order_by("pk")] == ["resolved", "triggered"]


@pytest.mark.parametrize(
    ("severity", "level", "opened"),
    [("page", "critical", 1), ("high", "error", 1), ("?", "error", 1), ("warning", "warning", 0), ("info", "info", 0)],
)
def test_the_label_severity_is_the_level(sender: Sender, severity: str, level: str, opened: int) -> None:
    sender.hook(firing(sender.alert(severity=severity)))
    assert ReportedAlert.objects.get().level == level
    assert Incident.objects.count() == opened
    assert Alert.objects.count() == (0 if level == "info" else 1)


def test_the_good_alerts_are_taken_when_others_are_not(sender: Sender) -> None:
    bad = firing({**sender.alert(), "labels": {}})
    status, body = sender.hook(bad, firing(sender.alert()), "nonsense", {**sender.alert(), "status": "odd"})
    assert status == 400
    assert "3 of 4 alerts rejected; alert 0: labels: at least one label pair required" in body
    assert Incident.objects.count() == 1
    assert Rejection.objects.filter(source="alertmanager").count() == 3


def test_what_the_sender_left_out_is_counted_where_people_see_it(sender: Sender) -> None:
    assert sender.hook(firing(sender.alert()), truncated=7)[0] == 200
    assert Rejection.objects.get().count == 7


def test_a_service_that_we_do_not_know_loses_no_alert(sender: Sender) -> None:
    sender.hook(firing(sender.alert(service="elsewhere")))
    incident = Incident.objects.get()
    assert (incident.service, incident.environment and incident.environment.key) == (None, "staging")


@pytest.mark.parametrize("body", [[], {}, {"alerts": {}}, "x", {"alerts": None}])
def test_what_is_no_webhook_is_refused_in_words(sender: Sender, body: Any) -> None:
    assert sender.send(HOOK, body)[0] == 400


def test_a_key_sends_for_its_own_environment_alone(sender: Sender) -> None:
    other = Sender("ingest", environments=[make.environment("qa")])
    assert other.hook(firing(other.alert()))[0] == 403
    plain = other.alert()
    del plain["labels"]["environment"]
    assert other.hook(firing(plain))[0] == 200
    assert ReportedAlert.objects.get().environment == make.environment("qa")
    assert Sender("read").hook(firing(sender.alert()))[0] == 403
    assert Client().post(HOOK, b"{}", content_type="application/json").status_code == 401


def test_a_silence_holds_it_back_until_it_is_over(sender: Sender) -> None:
    matchers = [{"name": "alertname", "value": "HighErrors"}]
    quiet = silences.silence(matchers, ends_at=sender.now + timedelta(hours=1), comment="known", by=BY)
    sender.hook(firing(sender.alert()))
    assert Alert.objects.get().held_because.startswith("silence")
    assert not Incident.objects.exists()
    shown = amtool(Sender("read"))
    assert [one["status"]["state"] for one in shown] == ["suppressed"]
    silences.expire(quiet, by=BY)
    assert alerts.tell_held() == 1
    assert Incident.objects.get().status == "triggered"


# --- As somebody's Alertmanager -----------------------------------------------------------------
def test_a_prometheus_pushes_the_end_ahead_and_at_last_names_it(sender: Sender) -> None:
    one = sender.alert(end=240)
    assert sender.post(one) == (200, "")
    assert sender.post({**one, "endsAt": sender.at(300)}) == (200, "")
    assert (Alert.objects.count(), Incident.objects.get().status) == (1, "triggered")
    for _ in range(2):  # it says so for a quarter of an hour
        assert sender.post({**one, "endsAt": sender.at(-1)}) == (200, "")
    assert (Alert.objects.get().status, Incident.objects.get().status) == ("resolved", "resolved")


def test_silence_is_not_the_end_but_is_said(sender: Sender) -> None:
    sender.post(sender.alert(end=240))
    assert reported.notice_silence(now=sender.now + timedelta(seconds=290)) == 0
    late = sender.now + timedelta(seconds=310)
    assert reported.notice_silence(now=late) == 1
    assert reported.notice_silence(now=late) == 0
    row, alert, incident = ReportedAlert.objects.get(), Alert.objects.get(), Incident.objects.get()
    assert (row.phase, alert.status, incident.status) == ("unreported", "firing", "triggered")
    assert "no longer reported since" in alert.reason
    assert incident.timeline.filter(kind="alert.unreported").count() == 1
    # A day later still: nobody has said that it is over.
    assert reported.notice_silence(now=late + timedelta(days=1, seconds=1)) == 1
    assert Alert.objects.get().status == "firing"
    # It is heard of again, and goes on as before.
    sender.post(sender.alert(end=900))
    assert ReportedAlert.objects.get().phase == "firing"
    assert Alert.objects.get().reason == "too many errors"
    assert Incident.objects.count() == 1


def test_a_silent_warning_ends_after_a_day_and_says_why(sender: Sender) -> None:
    sender.post(sender.alert(end=240, severity="warning"))
    for later in (timedelta(minutes=6), timedelta(days=2)):
        assert reported.notice_silence(now=sender.now + later) == 1
    alert = Alert.objects.get()
    assert alert.status == "resolved"
    assert "nobody has said that it is over" in alert.resolved_because
    assert not ReportedAlert.objects.going_on().exists()


def test_one_that_was_over_before_it_was_reported_is_noted(sender: Sender) -> None:
    status, body = sender.post(sender.alert(start=-600, end=-300))
    assert status == 400
    assert "are the clocks right?" in body
    assert not Alert.objects.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": {}}, "at least one label pair required"),
        ({"labels": {"a": 1}}, "must be a string"),
        ({"startsAt": "yesterday"}, "must be RFC 3339"),
        ({"startsAt": "2030-01-01T00:00:00Z", "endsAt": "2029-01-01T00:00:00Z"}, "start time must be before end"),
        ({"labels": {f"l{n}": "x" for n in range(65)}}, "at most 64 labels"),
        ({"labels": {"alertname": "x" * 2000}}, "at most 1024 characters"),
    ],
)
def test_a_wrong_alert_is_refused_by_its_field(sender: Sender, change: dict[str, Any], message: str) -> None:
    status, body = sender.post({**sender.alert(end=240), **change})
    assert status == 400
    assert message in body


def amtool(caller: Sender, query: str = "") -> Alerts:
    answer = Client().get(API + query, headers=caller.headers)
    assert answer.status_code == 200, answer.content
    found: Alerts = orjson.loads(answer.content)
    return found


def test_what_goes_on_is_read_as_from_an_alertmanager(sender: Sender) -> None:
    sender.post(sender.alert(end=240), sender.alert(end=240, service="search", severity="warning"))
    reader = Sender("read")
    assert {one["labels"]["service"] for one in amtool(reader)} == {"checkout", "search"}
    found = amtool(reader, '?filter=severity=~"crit.*"&filter=service!=search&active=true')
    assert [one["labels"]["severity"] for one in found] == ["critical"]
    assert found[0]["status"] == {"state": "active", "silencedBy": [], "inhibitedBy": []}
    assert len(found[0]["fingerprint"]) == 16
    assert amtool(reader, "?active=false") == []
    assert amtool(Sender("read", environments=[make.environment("qa")])) == []
    for wrong in ("?filter=x", '?filter=a=~"("', '?filter=a=~"(a%2B)%2B"'):
        assert Client().get(API + wrong, headers=reader.headers).status_code == 400
    for path in ("/-/healthy", "/-/ready"):
        assert Client().get(HOOK + path).status_code == 200
    assert Client().get(HOOK + "/api/v2/status", headers=reader.headers).status_code == 200


def test_a_repeated_list_costs_the_same_for_two_alerts_and_for_twenty(sender: Sender) -> None:
    costs = []
    for many in (2, 20):
        found = [sender.alert(end=240, instance=str(n)) for n in range(many)]
        sender.post(*found)
        with CaptureQueriesContext(connection) as queries:
            sender.post(*found)
        costs.append(len(queries))
    assert costs[0] == costs[1]


def test_our_judge_leaves_alone_what_others_judge(sender: Sender) -> None:
    sender.post(sender.alert(end=240))
    Threshold.objects.update(due_at=sender.now - timedelta(seconds=1))
    assert judging.run() == 0
    assert Alert.objects.get().status == "firing"
    owner = make.person("olga", "owner", is_staff=True)
    client = Client()
    client.force_login(owner)
    page = client.get(f"/incidents/{Incident.objects.get().pk}/").content.decode()
    assert "as alertmanager reports it" in page
