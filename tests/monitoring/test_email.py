"""An e-mail arrives once and readable; what the server says decides whether it is tried again."""

import dataclasses
import socket
import threading
from collections.abc import Iterator
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from pytest_django.fixtures import Settings

from monitoring.actions import channels, outbox
from monitoring.channels import Message, Permanent, Retry, Sent, catcher
from monitoring.channels.email import Email
from monitoring.models import Channel, OutboxMessage
from portal import env
from portal.audit import Automaton
from portal.errors import Invalid
from tests.monitoring import mailserver
from tests.monitoring.mailserver import Mailbox

BY = Automaton("test")
TO = {"to": "oncall@example.com"}
INCIDENT = {
    "id": 7, "title": "errors is critical on shop in production", "status": "triggered", "severity": "SEV1",
    "service": "shop", "environment": "production", "target": "deployment:42", "opened_at": "2026-01-02T03:04:05Z",
    "entries": 1, "url": "https://flightdeck.example.com/incidents/7/",
}  # fmt: skip


@pytest.fixture(autouse=True)
def sender(settings: Settings) -> None:
    settings.EMAIL_BACKEND = "monitoring.channels.smtp.Backend"
    settings.DEFAULT_FROM_EMAIL = "Flightdeck <portal@example.com>"
    settings.PORTAL_BASE_URL = "https://flightdeck.example.com"


@pytest.fixture
def box(settings: Settings) -> Iterator[Mailbox]:
    with mailserver.running() as box:
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", box.port
        yield box


def message(text: str = "error rate 7 % > 2 %", key: str = "incident.opened:7:1", **payload: Any) -> Message:
    return Message("incident.opened", key, {"text": text, "incident": INCIDENT, **payload}, TO, "")


# --- What arrives -------------------------------------------------------------------------------
def test_an_incident_arrives_as_text_and_html(box: Mailbox) -> None:
    assert Email().send(message("error rate 7 % > 2 %, größer <b>&")) == Sent()
    letter = box.letters[0]
    assert letter["To"] == "oncall@example.com"
    assert letter["From"] == "Flightdeck <portal@example.com>"
    assert letter["Subject"] == "[SEV1 opened] errors is critical on shop in production"
    assert letter["Auto-Submitted"] == "auto-generated"
    assert letter["X-Flightdeck-Event"] == "incident.opened"
    plain, html = letter.get_body(("plain",)), letter.get_body(("html",))
    assert plain is not None
    assert html is not None
    assert "error rate 7 % > 2 %, größer <b>&" in plain.get_content()
    assert "https://flightdeck.example.com/incidents/7/" in plain.get_content()
    assert "größer &lt;b&gt;&amp;" in html.get_content()
    assert "<b>" not in html.get_content()


def test_the_same_message_twice_is_one_message_to_its_reader(box: Mailbox) -> None:
    over = dataclasses.replace(message(key="incident.resolved:7:1"), kind="incident.resolved")
    for one in (message(), message(), over):
        assert Email().send(one) == Sent()
    first, again, other = (letter["Message-ID"] for letter in box.letters)
    assert first == again != other
    assert first.endswith("@flightdeck.example.com>")
    resolved = box.letters[2]
    assert (first, first) == (resolved["In-Reply-To"], resolved["References"]), "one incident is one thread"
    assert box.letters[0]["References"] is None


def test_what_is_no_incident_arrives_too(box: Mailbox) -> None:
    assert Email().send(Message("escalation.step", "k", {"text": "Wake up"}, TO, "")) == Sent()
    assert box.letters[0]["Subject"] == "Wake up"


def test_a_line_break_in_a_title_makes_no_header(box: Mailbox) -> None:
    evil = INCIDENT | {"title": "x\r\nBcc: everybody@example.com\n\nhello"}
    assert Email().send(message(incident=evil)) == Sent()
    assert box.letters[0]["Bcc"] is None
    assert box.letters[0]["Subject"] == "[SEV1 opened] x Bcc: everybody@example.com hello"


# --- What the server says -----------------------------------------------------------------------
@pytest.mark.parametrize("where", ["to_recipient", "to_content"])
@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("451 greylisted, come back later", Retry("SMTP 451 greylisted, come back later")),
        ("452 mailbox full", Retry("SMTP 452 mailbox full")),
        ("421 closing down", Retry("SMTP 421 closing down", away=True)),
        ("550 no such user", Permanent("SMTP 550 no such user")),
        ("554 refused", Permanent("SMTP 554 refused")),
    ],
)
def test_the_servers_word_decides(box: Mailbox, where: str, answer: str, expected: Any) -> None:
    setattr(box, where, answer)
    assert Email().send(message()) == expected
    assert box.letters == []
    setattr(box, where, "250 OK")
    assert Email().send(message()) == Sent()


def test_nobody_there_is_tried_again(settings: Settings) -> None:
    with mailserver.running() as gone:
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", gone.port
    answer = Email().send(message())
    assert isinstance(answer, Retry)
    assert answer.away


def test_a_name_that_does_not_resolve_is_tried_again(settings: Settings) -> None:
    settings.EMAIL_HOST = "mail.invalid"
    answer = Email().send(message())
    assert isinstance(answer, Retry)
    assert answer.away


@pytest.mark.parametrize("greeting", [b"", b"220 slow\r\n", b"554 go away\r\n", b"nonsense\r\n"])
def test_a_server_that_hangs_or_babbles_is_left_in_time(settings: Settings, greeting: bytes) -> None:
    settings.EMAIL_TIMEOUT = 1
    with socket.create_server(("127.0.0.1", 0)) as listener:
        settings.EMAIL_HOST, settings.EMAIL_PORT = listener.getsockname()
        held: list[socket.socket] = []

        def greet() -> None:
            connection, _ = listener.accept()
            held.append(connection)
            connection.sendall(greeting)

        thread = threading.Thread(target=greet, daemon=True)
        thread.start()
        answer = Email().send(message())
        thread.join(5)
        for connection in held:
            connection.close()
    assert isinstance(answer, Retry), answer
    assert answer.away


def test_a_wrong_password_is_the_portals_fault_not_the_messages(box: Mailbox, settings: Settings) -> None:
    settings.EMAIL_HOST_USER, settings.EMAIL_HOST_PASSWORD = "portal", "wrong"
    assert isinstance(Email().send(message()), Retry)


# --- Through the outbox -------------------------------------------------------------------------
@pytest.mark.django_db
def test_the_outbox_delivers_by_e_mail_and_keeps_what_was_put_off(box: Mailbox) -> None:
    channel = channels.create({"name": "ops", "kind": "email", "config": TO}, by=BY)
    outbox.put(channel, "incident.opened", {"text": "x", "incident": INCIDENT}, dedupe_key="k1")
    box.to_recipient = "451 later"
    outbox.deliver()
    kept = OutboxMessage.objects.get()
    assert (kept.state, kept.last_error) == ("pending", "SMTP 451 later")
    box.to_recipient = "250 OK"
    OutboxMessage.objects.update(due_at=kept.created_at)
    outbox.deliver()
    kept.refresh_from_db()
    assert kept.state == "sent"
    assert len(box.letters) == 1


@pytest.mark.django_db
def test_an_address_that_nobody_has_ends_the_message_with_its_reason(box: Mailbox) -> None:
    box.to_recipient = "550 no such user"
    outbox.put(
        channels.create({"name": "ops", "kind": "email", "config": TO}, by=BY), "x", {"text": "x"}, dedupe_key="k"
    )
    outbox.deliver()
    assert (OutboxMessage.objects.get().state, OutboxMessage.objects.get().last_error) == (
        "dead",
        "SMTP 550 no such user",
    )


# --- Configuration ------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({}, "to"),
        ({"to": ""}, "to"),
        ({"to": None}, "to"),
        ({"to": ["a@example.com"]}, "to"),
        ({"to": "nobody"}, "to"),
        ({"to": "a@example.com, b@example.com"}, "to"),
        ({"to": "a@example.com\nBcc: b@example.com"}, "to"),
        ({"to": f"{'a' * 64}@{'b' * 63}.{'c' * 63}.{'d' * 63}.com"}, "to"),
        (TO | {"cc": "b@example.com"}, "cc"),
        (TO | {"digest": "yes"}, "digest"),
        (TO | {"digest_at": "8 o'clock"}, "digest_at"),
        (TO | {"digest_at": "24:00"}, "digest_at"),
        (TO | {"zone": "Mars/Olympus"}, "zone"),
        (TO | {"zone": "../etc/passwd"}, "zone"),
        (TO | {"zone": 5}, "zone"),
        (TO | {"zone": ""}, "zone"),
    ],
)
@pytest.mark.django_db
def test_a_wrong_configuration_names_its_field(config: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as refusal:
        channels.create({"name": "ops", "kind": "email", "config": config}, by=BY)
    assert list(refusal.value.errors) == [f"config.{field}"]
    assert not Channel.objects.exists()


def test_a_configuration_is_kept_as_it_was_said() -> None:
    config = TO | {"digest": True, "digest_at": "07:30", "zone": "Europe/Warsaw"}
    assert Email().clean(config) == config


@pytest.mark.parametrize("url", ["mail.example.com", "http://mail", "consolemail://", "smtp://", "smtp://mail:port"])
def test_a_wrong_server_address_stops_the_start(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("PORTAL_EMAIL_URL", url)
    with pytest.raises(ImproperlyConfigured, match="PORTAL_EMAIL_URL"):
        env.email_server("PORTAL_EMAIL_URL")


def test_a_server_address_is_read_with_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTAL_EMAIL_URL", "smtp+tls://u%40x:p%2Fw@mail.example.com:587")
    found = env.email_server("PORTAL_EMAIL_URL")
    assert (found["EMAIL_HOST"], found["EMAIL_PORT"], found["EMAIL_USE_TLS"]) == ("mail.example.com", 587, True)
    assert (found["EMAIL_HOST_USER"], found["EMAIL_HOST_PASSWORD"]) == ("u@x", "p/w")


def test_a_wrong_zone_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTAL_ZONE", "Mars/Olympus")
    with pytest.raises(ImproperlyConfigured, match="PORTAL_ZONE"):
        env.zone("PORTAL_ZONE", "UTC")


# --- Without a server ---------------------------------------------------------------------------
def test_without_a_server_messages_are_caught_as_files(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.EMAIL_BACKEND = "monitoring.channels.catcher.Backend"
    settings.MAIL_FOLDER = tmp_path / "mail"
    monkeypatch.setattr(catcher, "KEPT", 3)
    for number in range(5):
        assert Email().send(Message("note", f"k{number}", {"text": f"Größe {number}"}, TO, "")) == Sent()
        assert Email().send(Message("note", f"k{number}", {"text": f"Größe {number}"}, TO, "")) == Sent()
    files = list((tmp_path / "mail").glob("*.eml"))
    assert len(files) == 3, "the oldest go, and the same message again is the same file"
    letter = message_from_bytes(files[0].read_bytes(), policy=policy.default)
    assert letter["To"] == "oncall@example.com"
