"""Slack, PagerDuty and Teams are told in their own words; what they answer decides what becomes of a message."""

import json
from datetime import timedelta
from typing import Any

import pytest
from pytest_django.fixtures import Settings

from monitoring.actions import channels, definitions, incidents, notices, outbox
from monitoring.channels import Answer, Message, Permanent, Retry, Sent, pagerduty, slack, teams
from monitoring.models import Channel, ChannelThread, Incident, OutboxMessage
from portal.errors import Invalid
from tests import make
from tests.make import BY
from tests.monitoring.receiver import Call, Receiver, Reply

KEY = "R" * 32
INCIDENT = {
    "id": 7, "uid": "6f1f2f0c-0000-4000-8000-000000000007", "title": "errors <!channel>", "status": "triggered",
    "severity": "SEV2", "service": "shop", "environment": "production", "acknowledged_by": None,
    "opened_at": "2026-01-02T03:04:05Z", "url": "https://flightdeck.example.com/incidents/7/",
}  # fmt: skip


@pytest.fixture(autouse=True)
def elsewhere(receiver: Receiver, settings: Settings) -> None:
    base = receiver.url.removesuffix("/hook")
    settings.PORTAL_SLACK_API_URL = f"{base}/api"
    settings.PORTAL_PAGERDUTY_URL = base


def message(kind: str = "incident.opened", secret: str = "", mark: Any = None, **options: Any) -> Message:
    payload = {"text": "error rate 7 % > 2 %", "incident": INCIDENT}
    return Message(kind, "k1", payload, options.pop("config", {}), secret, mark=mark or {}, channel=3, **options)


def said(call: Call) -> Any:
    return json.loads(call.body)


def ok(**fields: Any) -> Reply:
    return Reply(body=json.dumps({"ok": True, "ts": "17.5", "channel": "C1", **fields}).encode())


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Reply(body=b"ok"), Sent()),
        (Reply(body=b"<html>"), Retry("HTTP 200, but not Slack's ok: <html>")),
        (Reply(400, body=b"invalid_payload"), Permanent("HTTP 400 invalid_payload")),
        (Reply(410, body=b"channel_is_archived"), Permanent("HTTP 410 channel_is_archived")),
        (Reply(429, {"Retry-After": "30"}), Retry("HTTP 429", after=30.0)),
        (Reply(500, body=b"rollup_error"), Retry("HTTP 500 rollup_error")),
    ],
)
def test_a_slack_webhook_is_believed_when_it_says_ok(receiver: Receiver, reply: Reply, expected: Answer) -> None:
    receiver.answer = lambda call: reply
    assert slack.IncomingWebhook().send(message(config={"url": receiver.url})) == expected
    body = said(receiver.calls[0])
    assert body["text"] == "[SEV2] error rate 7 % &gt; 2 %"
    assert [(one["action_id"], one.get("value")) for one in body["blocks"][3]["elements"]] == [
        ("acknowledge", "7:3"), ("resolve", "7:3"), ("open", None),
    ]  # fmt: skip
    assert "k1" in body["blocks"][4]["elements"][0]["text"]


def bot(**options: Any) -> Answer:
    return slack.Bot().send(message(secret="xoxb-1", config={"channel": "C1"}, **options))


def test_a_living_message_that_is_gone_is_posted_anew(receiver: Receiver) -> None:
    receiver.answer = lambda call: (
        Reply(body=b'{"ok": false, "error": "message_not_found"}') if "update" in call.path else ok(ts="18.0")
    )
    assert bot(mark={"channel": "C1", "ts": "17.5"}) == Sent(mark={"channel": "C1", "ts": "18.0"})


def test_what_arrived_although_its_sender_died_is_not_posted_twice(receiver: Receiver) -> None:
    there = [{"ts": "17.5", "metadata": {"event_payload": {"key": "k1"}}}]
    receiver.answer = lambda call: ok(messages=there) if "history" in call.path else ok(ts="19.0")
    assert bot(again=True) == Sent(mark={"channel": "C1", "ts": "17.5"})
    assert [call.path for call in receiver.calls] == ["/api/conversations.history"]


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Reply(body=b'{"ok": false, "error": "channel_not_found"}'), Permanent("Slack: channel_not_found")),
        (Reply(body=b'{"ok": false, "error": "fatal_error"}'), Retry("Slack: fatal_error")),
        (Reply(429, {"Retry-After": "30"}), Retry("HTTP 429", after=30.0)),
        (Reply(204), Retry("HTTP 204")),
        (Reply(body=b"<html>"), Retry("not Slack's JSON: <html>")),
    ],
)
def test_slacks_word_decides(receiver: Receiver, reply: Reply, expected: Answer) -> None:
    receiver.answer = lambda call: reply
    assert bot() == expected


@pytest.mark.parametrize(
    ("kind", "action"),
    [
        ("incident.opened", "trigger"),
        ("incident.escalated", "trigger"),
        ("incident.acknowledged", "acknowledge"),
        ("incident.resolved", "resolve"),
    ],
)
def test_pagerduty_follows_an_incident_by_its_key(receiver: Receiver, kind: str, action: str) -> None:
    receiver.answer = lambda call: Reply(202)
    assert pagerduty.PagerDuty().send(message(kind, secret=KEY)) == Sent()
    event = said(receiver.calls[0])
    assert (receiver.calls[0].path, event["routing_key"], event["event_action"]) == ("/v2/enqueue", KEY, action)
    assert event["dedup_key"] == f"incident-{INCIDENT['uid']}"
    if action == "trigger":
        told = event["payload"]
        assert (told["summary"], told["source"], told["severity"]) == ("error rate 7 % > 2 %", "shop", "error")


def test_pagerdutys_limits_are_kept_and_its_key_is_needed(receiver: Receiver) -> None:
    receiver.answer = lambda call: Reply(202)
    assert pagerduty.PagerDuty().send(Message("x", "d" * 300, {"text": "x" * 5000}, {}, KEY)) == Sent()
    event = said(receiver.calls[0])
    assert (len(event["payload"]["summary"]), len(event["dedup_key"])) == (1024, 64)
    assert isinstance(pagerduty.PagerDuty().send(message(secret="short")), Permanent)


def test_teams_gets_an_adaptive_card(receiver: Receiver) -> None:
    receiver.answer = lambda call: Reply(202)
    assert teams.Teams().send(message(config={"url": receiver.url})) == Sent()
    attachment = said(receiver.calls[0])["attachments"][0]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    assert attachment["content"]["body"][0]["text"] == "[SEV2] errors <!channel>"
    assert attachment["content"]["actions"][0]["url"] == INCIDENT["url"]


@pytest.mark.parametrize(
    ("kind", "config", "field"),
    [
        ("slack_webhook", {"url": "http://10.0.0.1/"}, "url"),
        ("slack_webhook", {"url": "https://hooks.slack.com/x", "buttons": "yes"}, "buttons"),
        ("slack", {"channel": "two words"}, "channel"),
        ("teams", {"url": 7}, "url"),
        ("pagerduty", {"routing_key": KEY}, "routing_key"),
    ],
)
@pytest.mark.django_db
def test_a_wrong_configuration_names_its_field(kind: str, config: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as refusal:
        channels.create({"name": "x", "kind": kind, "config": config}, by=BY)
    assert list(refusal.value.errors) == [f"config.{field}"]


# --- Through the outbox -------------------------------------------------------------------------
def hook(receiver: Receiver, **fields: Any) -> Channel:
    return channels.create({"name": "h", "kind": "webhook", "config": {"url": receiver.url}, **fields}, by=BY)


def room() -> Channel:
    return channels.create({"name": "s", "kind": "slack", "config": {"channel": "C1"}, "secret": "xoxb"}, by=BY)


def incident_told(*told: Channel) -> Incident:
    definition = definitions.create("d", {"name": "D"}, by=BY)
    definition.channels.set(told)
    return incidents.open_by_hand("it burns", by=BY, definition=definition, service=make.service())


@pytest.mark.django_db
def test_an_incident_is_one_living_message(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slack.Bot, "pace", 0.0)
    receiver.answer = lambda call: ok()
    incident = incident_told(room())
    outbox.deliver()
    incidents.acknowledge(incident, by=BY)
    outbox.deliver()
    posted, edited, replied = receiver.calls
    assert posted.headers["Authorization"] == "Bearer xoxb"
    assert (posted.path, edited.path, replied.path) == (
        "/api/chat.postMessage", "/api/chat.update", "/api/chat.postMessage",
    )  # fmt: skip
    assert (said(edited)["ts"], said(replied)["thread_ts"]) == ("17.5", "17.5")
    assert ChannelThread.objects.get().mark == {"channel": "C1", "ts": "17.5"}


@pytest.mark.django_db
def test_what_is_told_carries_the_incidents_uid(receiver: Receiver) -> None:
    incident = incident_told(hook(receiver))
    incident.refresh_from_db()
    outbox.deliver()
    assert said(receiver.calls[0])["incident"]["uid"] == str(incident.uid)


@pytest.mark.django_db
def test_what_is_said_of_one_incident_arrives_in_order(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    # The first pause is of a second, which a busy machine may let pass within the run.
    monkeypatch.setattr(outbox, "pause", lambda *_: timedelta(minutes=5))
    receiver.answer = lambda call: Reply(500)
    incident = incident_told(hook(receiver))
    incidents.acknowledge(incident, by=BY)
    outbox.deliver()
    assert [said(call)["kind"] for call in receiver.calls] == ["incident.opened"]
    receiver.answer = lambda call: Reply(200)
    receiver.calls.clear()
    OutboxMessage.objects.update(due_at=incident.opened_at)
    outbox.deliver()
    assert [said(call)["kind"] for call in receiver.calls] == ["incident.opened", "incident.acknowledged"]


@pytest.mark.django_db
def test_a_receiver_in_trouble_is_left_in_peace_and_then_gets_everything(receiver: Receiver) -> None:
    receiver.answer = lambda call: Reply(503)
    for number in range(20):
        notices.tell_channel(Channel.objects.first() or hook(receiver), "x", "hello", key=f"k{number}")
    outbox.deliver()
    assert len(receiver.calls) <= outbox.RESTS_AFTER + outbox.AT_ONCE_A_CHANNEL
    receiver.answer = lambda call: Reply(200)
    for _ in range(3):
        Channel.objects.update(resting_until=None)
        outbox.deliver()
    assert set(OutboxMessage.objects.values_list("state", flat=True)) == {"sent"}
    assert Channel.objects.get().failures == 0


@pytest.mark.django_db
def test_a_storm_becomes_one_message_and_nothing_is_lost(receiver: Receiver) -> None:
    way = hook(receiver, fold_after=3)
    for number in range(10):
        notices.tell_channel(way, "incident.opened", f"it burns {number}", key=f"k{number}")
    outbox.deliver()
    assert len(receiver.calls) == 3
    storm = OutboxMessage.objects.get(kind=outbox.STORM)
    assert storm.folded.count() == 7
    OutboxMessage.objects.filter(pk=storm.pk).update(due_at=storm.created_at)
    outbox.deliver()
    assert [one["text"] for one in said(receiver.calls[3])["folded"]] == [f"it burns {n}" for n in range(3, 10)]


@pytest.mark.django_db
def test_a_channel_keeps_its_pace() -> None:
    way = room()
    for number in range(2):
        notices.tell_channel(way, "x", "hello", key=f"k{number}")
    assert outbox.lease() is not None
    assert outbox.lease() is None


@pytest.mark.django_db
def test_a_person_is_told_by_their_own_channels_or_by_e_mail(receiver: Receiver) -> None:
    olu = make.person("olu", "operator", email="olu@example.com")
    for _ in range(2):
        told = notices.tell_person(olu, "escalation.step", "wake up", key="e1")
        assert [(one.kind, one.config) for one in told] == [("email", {"to": "olu@example.com"})]
    assert OutboxMessage.objects.count() == 1
    hook(receiver, owner=olu)
    assert len(notices.tell_person(olu, "escalation.step", "wake up", key="e2")) == 2
    assert notices.tell_person(make.person("vic"), "x", "y", key="e3") == []


@pytest.mark.django_db
def test_a_test_message_goes_the_way_of_all_others(receiver: Receiver) -> None:
    made = outbox.test(hook(receiver), by=BY)
    outbox.deliver()
    made.refresh_from_db()
    assert made.state == "sent"
    assert "Nothing is wrong" in said(receiver.calls[0])["text"]
