"""A button in Slack acts for the person who pressed it, once, when the request is Slack's own."""

import hashlib
import hmac
import json
import time
from typing import Any
from urllib.parse import urlencode

import pytest
from django.test import Client

from monitoring.actions import channels, incidents, outbox
from monitoring.models import Incident
from tests import make
from tests.make import BY
from tests.monitoring.receiver import Receiver, Reply

pytestmark = pytest.mark.django_db
SECRET = "8f742231b10e8888abcd99yyyzzz85a5"


@pytest.fixture
def incident(receiver: Receiver, settings: Any) -> Incident:
    """One that a Slack room was told of; Slack knows U1 as Olu."""
    settings.PORTAL_SLACK_API_URL = f"{receiver.url.removesuffix('/hook')}/api"
    receiver.answer = lambda call: Reply(
        body=json.dumps({"ok": True, "user": {"profile": {"email": "OLU@example.com"}}}).encode()
    )
    return incidents.open_by_hand("it burns", by=BY, service=make.service(), environment=make.environment())


def press(
    incident: Incident, receiver: Receiver, *, verb: str = "acknowledge", age: int = 0, secret: str = SECRET, n: int = 0
) -> Any:
    room = channels.create(
        {"name": f"s{n}", "kind": "slack", "config": {"channel": "C1"}, "secret": "x", "signing_secret": SECRET}, by=BY
    )
    payload = {
        "type": "block_actions",
        "user": {"id": "U1"},
        "response_url": receiver.url,
        "actions": [{"action_id": verb, "value": f"{incident.pk}:{room.pk}"}],
    }
    body = urlencode({"payload": json.dumps(payload)})
    timestamp = str(int(time.time()) - age)
    digest = hmac.new(secret.encode(), f"v0:{timestamp}:{body}".encode(), hashlib.sha256).hexdigest()
    headers = {"X-Slack-Request-Timestamp": timestamp, "X-Slack-Signature": f"v0={digest}"}

    def send() -> Any:
        return Client().post(
            "/hooks/slack/interactions/", body, content_type="application/x-www-form-urlencoded", headers=headers
        )

    press.again = send  # type: ignore[attr-defined]
    return send()


def test_a_pressed_button_acknowledges_for_whom_slack_knows_by_e_mail(incident: Incident, receiver: Receiver) -> None:
    make.person("olu", "operator", email="olu@example.com")
    answer = press(incident, receiver)
    assert (answer.status_code, answer.json()["text"]) == (200, f"Incident {incident.pk} is acknowledged by olu.")
    incident.refresh_from_db()
    assert (incident.status, incident.acknowledged_by) == ("acknowledged", "olu")
    receiver.calls.clear()
    outbox.deliver()
    assert json.loads(receiver.calls[-1].body)["text"] == f"Incident {incident.pk} is acknowledged by olu."
    assert press.again().status_code == 409  # type: ignore[attr-defined]


def test_the_owner_of_a_personal_channel_is_known_by_it(incident: Incident, receiver: Receiver) -> None:
    olu = make.person("olu", "operator")
    channels.create({"name": "olu", "kind": "slack", "config": {"channel": "U1"}, "owner": olu}, by=BY)
    assert "acknowledged by olu" in press(incident, receiver).json()["text"]


def test_whoever_may_not_is_told_so(incident: Incident, receiver: Receiver) -> None:
    assert "does not know who you are" in press(incident, receiver).json()["text"]
    make.person("olu", "viewer", email="olu@example.com")
    assert "may not operate" in press(incident, receiver, n=1).json()["text"]
    incident.refresh_from_db()
    assert incident.status == "triggered"


def test_what_is_not_slacks_or_too_old_is_refused(incident: Incident, receiver: Receiver) -> None:
    make.person("olu", "operator", email="olu@example.com")
    assert press(incident, receiver, secret="guessed").status_code == 401
    assert press(incident, receiver, age=301, n=1).status_code == 401
    assert press(incident, receiver, age=-301, n=2).status_code == 401
    assert Client().post("/hooks/slack/interactions/", b"x", content_type="text/plain").status_code == 400
    assert Client().get("/hooks/slack/interactions/").status_code == 405
    incident.refresh_from_db()
    assert incident.status == "triggered"


def test_an_unknown_button_does_nothing(incident: Incident, receiver: Receiver) -> None:
    make.person("olu", "operator", email="olu@example.com")
    assert press(incident, receiver, verb="explode").json()["text"] == "Flightdeck knows no such button."
