"""Senders of the outbox that kill themselves at random, until enough have died and everything is done.

Run as a process of its own: `python -m tests.monitoring.killed_senders MODE KILLS`. MODE is `lease` (the product) or
`mark` (mark as sent, then send: what many do, and what this shows to lose messages). Prints how many were killed.
"""

import os
import random
import signal
import sys
import threading
import time
from datetime import timedelta
from uuid import UUID

import django
from django.db import connections, transaction

django.setup()

from monitoring.actions import outbox  # noqa: E402  (the apps must be ready first)
from monitoring.models import OutboxMessage  # noqa: E402
from portal import jobs  # noqa: E402

WORKERS = 4
DIES_WITHIN = 0.06  # seconds
# Receivers are not on this machine: so long a message is on its way, for either kind of sender.
LATENCY = 0.03  # seconds
PENDING = OutboxMessage.objects.filter(state="pending")


_send = outbox._send


def send_far(taken: outbox.Lease) -> outbox.Answer:
    time.sleep(LATENCY)
    return _send(taken)


def mark_then_send() -> int:
    with transaction.atomic():
        message = jobs.claim(PENDING.select_related("channel"))
        if message is None:
            return 0
        message.state = "sent"
        message.save()
    body = outbox.Message(message.kind, message.dedupe_key, message.payload, message.channel.config, "")
    send_far(outbox.Lease(message.pk, UUID(int=0), message.channel_id, message.channel.kind, 1, body))
    return 1


def work(mode: str, *, dies: bool) -> None:
    turns = random.randint(1, 2) if dies else -1
    while PENDING.exists():
        turns -= 1
        if turns == 0:
            threading.Thread(target=die_soon, daemon=True).start()
        if not (mark_then_send() if mode == "mark" else outbox.deliver()):
            time.sleep(0.05)


def die_soon() -> None:
    """At any moment of a sender's work."""
    time.sleep(random.uniform(0, DIES_WITHIN))
    os.kill(os.getpid(), signal.SIGKILL)


def main(mode: str, kills: int) -> None:
    outbox._send = send_far
    outbox.LEASE = timedelta(seconds=1)
    outbox.CYCLE = 0.05
    running: set[int] = set()
    killed = 0
    while killed < kills or running:
        while len(running) < WORKERS and (killed < kills or not running):
            pid = os.fork()
            if pid == 0:
                random.seed(os.getpid())
                work(mode, dies=killed < kills)
                os._exit(0)
            running.add(pid)
        pid, status = os.wait()
        running.discard(pid)
        killed += os.WIFSIGNALED(status)
        if os.WIFEXITED(status) and killed < kills:
            break  # nothing is left to be sent
    while running:
        pid, status = os.wait()
        running.discard(pid)
        killed += os.WIFSIGNALED(status)
    if PENDING.exists():
        work(mode, dies=False)
    connections.close_all()
    print(killed)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
