"""The pages of what tells people: how each channel does, and what nobody took."""

from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse

from monitoring.models import Channel, OutboxMessage
from monitoring.views.channels import health
from portal import jobs
from portal.models import AuditEntry
from tests import make
from tests.pages import seats

pytestmark = pytest.mark.django_db


@pytest.fixture
def captain() -> Client:
    return seats.captain()


def channel(name: str = "ops", **fields: object) -> Channel:
    # What a hook's address ends with is what lets one in.
    return Channel.objects.create(name=name, kind="webhook", config={"url": "https://example.com/s3cret"}, **fields)


def letter(way: Channel, state: str = "dead", **fields: object) -> OutboxMessage:
    now = jobs.database_now()
    return OutboxMessage.objects.create(
        channel=way,
        kind="incident.opened",
        dedupe_key=f"{way.pk}-{state}-{OutboxMessage.objects.count()}",
        payload={"text": "checkout <b>fails</b>"},
        state=state,
        give_up_at=now,
        **fields,
    )


def test_a_channels_state_is_what_the_sender_goes_by() -> None:
    now = jobs.database_now()
    soon, earlier = now + timedelta(minutes=2), now - timedelta(minutes=2)
    told = {
        "Off": Channel(active=False, failures=4, resting_until=soon),
        "Circuit open": Channel(failures=3, resting_until=soon),
        "Failing": Channel(failures=3, resting_until=earlier, last_sent_at=earlier),
        "Not used yet": Channel(),
        "Working": Channel(last_sent_at=earlier, resting_until=earlier),
    }
    assert [health(one, now=now).word for one in told.values()] == list(told)


def test_the_list_says_what_waits_what_died_and_why_but_no_address(captain: Client) -> None:
    rest = jobs.database_now() + timedelta(minutes=2)
    failing = channel("pager", failures=3, resting_until=rest)
    letter(failing, "pending", last_error="502 Bad Gateway")
    letter(failing, "dead", last_error="410 Gone")
    letter(failing, "sent")
    page = captain.get(reverse("channels")).content.decode()
    assert "Circuit open" in page
    assert "410 Gone" in page
    assert f'<a href="{reverse("dead-letters")}?channel=pager">1</a>' in page
    assert "s3cret" not in page


def test_a_test_message_is_sent_by_a_button(captain: Client) -> None:
    way = channel()
    answer = captain.post(reverse("channel-test", args=[way.pk]), follow=True)
    assert "on its way" in answer.content.decode()
    assert way.messages.get().kind == "channel.test"
    Channel.objects.update(active=False)
    assert captain.post(reverse("channel-test", args=[way.pk])).status_code == 409


def test_a_dead_letter_is_shown_and_sent_again(captain: Client) -> None:
    dead = letter(channel(), last_error="410 Gone")
    letter(channel("other"), last_error="no such room")
    page = captain.get(reverse("dead-letters"), {"channel": "ops"}).content.decode()
    assert "410 Gone" in page
    assert "checkout &lt;b&gt;fails&lt;/b&gt;" in page
    assert "no such room" not in page
    captain.post(reverse("dead-letter-resend", args=[dead.pk]))
    dead.refresh_from_db()
    assert dead.state == "pending"
    assert AuditEntry.objects.filter(verb="outbox.resent", object_id=dead.pk).exists()
    assert captain.post(reverse("dead-letter-resend", args=[dead.pk])).status_code == 404
    assert "no such room" in captain.get(reverse("dead-letters")).content.decode()


def test_who_may_not_configure_sees_neither() -> None:
    viewer = seats.seat(make.person("vic", "viewer"))
    assert {viewer.get(reverse(name)).status_code for name in ("channels", "dead-letters")} == {403}
    assert reverse("channels") not in viewer.get(reverse("home")).content.decode()
