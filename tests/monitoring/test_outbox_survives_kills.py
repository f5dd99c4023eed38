"""Senders that are killed at random lose nothing; the way that many do it does, under the same hail."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from django.db.models.functions import Now

from monitoring.actions import outbox
from monitoring.models import Channel, OutboxMessage
from tests.monitoring import watching
from tests.monitoring.receiver import Receiver, Reply

pytestmark = pytest.mark.django_db(transaction=True)
ROOT = Path(__file__).resolve().parents[2]
MESSAGES = 300


def send_under_fire(mode: str, receiver: Receiver, *, kills: int) -> Counter[str]:
    """How often each message arrived, while so many senders were killed."""
    receiver.answer = lambda call: Reply(204, after=0.005)
    channels = [Channel.objects.create(name=f"c{n}", kind="webhook", config={"url": receiver.url}) for n in range(6)]
    OutboxMessage.objects.bulk_create(
        OutboxMessage(
            channel=channels[n % len(channels)],
            kind="incident.opened",
            payload={"n": n},
            dedupe_key=f"k{n}",
            give_up_at=Now() + outbox.GIVE_UP_AFTER,
        )
        for n in range(MESSAGES)
    )
    env = {**os.environ, "DATABASE_URL": watching.database_url(), "PORTAL_OUTGOING_ALLOW": "127.0.0.0/8"}
    command = [sys.executable, "-m", "tests.monitoring.killed_senders", mode, str(kills)]
    done = subprocess.run(command, cwd=ROOT, env=env, timeout=240, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert not OutboxMessage.objects.exclude(state="sent").exists()
    killed, arrived = int(done.stdout.split()[-1]), Counter(receiver.keys)
    print(f"{mode}: {killed} kills, {MESSAGES - len(arrived)} lost, {arrived.total() - len(arrived)} twice")
    assert killed >= kills
    return arrived


def test_leased_messages_all_arrive(receiver: Receiver) -> None:
    """Invariant 1: senders killed at random lose nothing, and a message has one key."""
    assert len(send_under_fire("lease", receiver, kills=24)) == MESSAGES


def test_messages_marked_before_they_are_sent_do_not(receiver: Receiver) -> None:
    """Invariant 2: the variant that marks first loses some, so the test above bites."""
    assert len(send_under_fire("mark", receiver, kills=60)) < MESSAGES
