"""Responses that a machine outside carries out: it is told, signed, which state is desired.

What goes out says what shall be, not what to do: the same message twice asks for the same. Its dedupe key is the run's.
"""

from typing import Any

from django.db import transaction

from monitoring.actions import notices, outbox, timeline
from monitoring.models import Channel, Incident, OutboxMessage, ResponseRun
from portal import jobs, live, states
from portal.audit import Automaton
from portal.errors import Refused

BY = Automaton("incident responses")
PREFIX = "response."


def ask(run: ResponseRun, name: str) -> list[str]:
    """In the transaction that settles the run: put it into the outbox of every webhook that takes this response."""
    channels = list(
        Channel.objects.filter(kind="webhook", active=True, config__responses__contains=[name]).order_by("id")
    )
    if not channels:
        raise Refused(f'no webhook takes {name}: name it in the "responses" of one')
    incident = run.incident
    for channel in channels:
        key = f"{PREFIX}{name}:{run.pk}:{run.attempts}:{channel.pk}"
        text = f"{incident.title}: {run}, because {run.because}"
        desired = {
            "response": name,
            "state": run.argument or "on",
            "target": run.target,
            "service": incident.service.key if incident.service else None,
            "environment": incident.environment.key if incident.environment else None,
        }
        payload = {**notices.payload(incident, f"{PREFIX}{name}", text, key), "desired": desired, "run": run.pk}
        outbox.put(channel, f"{PREFIX}{name}", payload, dedupe_key=key)
    return [channel.name for channel in channels]


def settled(message: OutboxMessage) -> None:
    """In the transaction in which a message of ours was taken or given up: with the last one the run is over."""
    with transaction.atomic():
        runs = ResponseRun.objects.filter(pk=message.payload["run"], status=ResponseRun.Status.ASKED)
        run = runs.select_for_update(of=("self",)).select_related("incident").first()
        if run is None:
            return
        ours: Any = OutboxMessage.objects.filter(kind=message.kind, payload__run=run.pk)
        # Of an earlier attempt of the run what was settled then counts no more.
        ours = [one for one in ours if one.dedupe_key.startswith(f"{message.kind}:{run.pk}:{run.attempts}:")]
        if any(one.state == OutboxMessage.State.PENDING for one in ours):
            return
        dead = [one for one in ours if one.state == OutboxMessage.State.DEAD]
        failed, names = bool(dead), ", ".join(one.channel.name for one in dead or ours)
        words = f"{names}: {dead[0].last_error}" if failed else f"{names} took it"
        status = ResponseRun.Status.FAILED if failed else ResponseRun.Status.DONE
        states.move(run, status, by=BY, because=words, outcome=words, ended_at=jobs.database_now())
        incident = Incident.objects.select_for_update(of=("self",)).get(pk=run.incident_id)
        word = "failed" if failed else "done"
        timeline.write(incident, f"response.{word}", f"{run.name}: {words}", by=BY, data={"run": run.pk})
        if failed:
            again = f"{run.pk}:{run.attempts}:hook"
            notices.tell(incident, "response_failed", f"{incident.title}: {run.name} failed, {words}", again=again)
        live.announce("incidents", id=incident.pk)


outbox.on_settled(PREFIX, settled)
