"""Calling people about an incident until one answers: step after step of its policy, each once.

When the next step is due stands on the incident's row, by the database's clock; a sweep takes one incident at a time.
Whoever acknowledges locks the same row: of an answer and a step in the same instant exactly one is first, and the
timeline says which. After an outage one step is taken, not all that were missed.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from monitoring.actions import notices, timeline
from monitoring.models import Channel, EscalationPolicy, Incident, Rota
from monitoring.models.incidents import OPEN
from monitoring.preferences import Urgency
from monitoring.queries import rotas
from portal import audit, jobs, live, states
from portal.audit import Automaton
from portal.models import User

BY = Automaton("escalation")
Status = Incident.Status
# How long whoever took an incident has to say that they are still on it.
GRACE = timedelta(minutes=10)


def begin(incident: Incident, *, quiet: bool = False) -> None:
    """In the transaction that opens the incident: its policy is copied, and the first step is due at once.

    `quiet`: something holds its alerts back; the first step is due when that is over (`resume`).
    """
    policy = incident.definition.escalation if incident.definition else None
    policy = policy or EscalationPolicy.objects.filter(is_default=True).first()
    if policy is None:
        return
    incident.policy = {
        "key": policy.key,
        "name": policy.name,
        "steps": policy.steps,
        "repeat": policy.repeat,
        "remind_after": policy.remind_after,
    }
    incident.save(update_fields=["policy"])
    if not quiet:
        resume(incident)


def resume(incident: Incident) -> None:
    """The next step is due now. The incident is locked by the caller."""
    if not incident.policy or incident.status not in OPEN:
        return
    incident.next_page_at = jobs.database_now()
    incident.save(update_fields=["next_page_at"])
    jobs.nudge("monitoring.escalate")


def answered(incident: Incident) -> None:
    """Somebody is on it: nobody further is called, and they are asked again in a while. Locked by the caller."""
    after = incident.policy.get("remind_after")
    is_taken = incident.status == Status.ACKNOWLEDGED
    incident.next_page_at, incident.reminded_at = None, None
    incident.remind_at = jobs.database_now() + timedelta(seconds=after) if after and is_taken else None
    incident.save(update_fields=["next_page_at", "remind_at", "reminded_at"])


def run_due() -> int:
    """Take what is due, one incident at a time. How many steps were taken and people reminded."""
    done = 0
    for field, act in (("next_page_at", _step), ("remind_at", _remind)):
        due = Incident.objects.filter(**{f"{field}__lte": jobs.database_now()}).order_by(field, "id")
        for pk in list(due.values_list("pk", flat=True)):
            done += _take(pk, field, act)
    return done


def _take(pk: int, field: str, act: Any) -> bool:
    with transaction.atomic():
        now = jobs.database_now()
        rows = Incident.objects.select_related("definition", "service", "environment")
        # Asked again under the lock: whoever answered meanwhile has taken the time away.
        incident = jobs.claim(rows.filter(pk=pk, **{f"{field}__lte": now}))
        if incident is None:
            return False
        act(incident, now)
        live.announce("incidents", id=incident.pk)
    return True


def _step(incident: Incident, now: datetime) -> None:
    """The next step of the copied policy; from the last one back to the first, as often as it says."""
    steps = incident.policy["steps"]
    step = steps[incident.step]
    number = incident.step + 1
    incident.pages += 1
    reached = _call(incident, step, number, now)
    whom = ", ".join(reached)
    if reached:
        text = f"step {number} of {len(steps)}: {whom} called"
    else:
        text = f"step {number} of {len(steps)} reaches nobody: the next one follows at once"
    timeline.write(incident, "escalation.step", text, by=BY, data={"step": number, "lap": incident.lap, "to": reached})
    audit.record("incident.paged", incident, by=BY, after={"step": number, "lap": incident.lap, "to": reached})
    is_last = incident.step + 1 == len(steps)
    incident.step, incident.lap = (0, incident.lap + 1) if is_last else (incident.step + 1, incident.lap)
    incident.next_page_at = now + timedelta(seconds=step["delay"]) if reached else now
    if incident.acknowledged_at is not None:
        incident.next_page_at = None  # a person asked for this one step
    elif incident.lap > incident.policy["repeat"]:
        incident.next_page_at = None
        words = f"nobody has answered {incident.pages} calls: {incident.policy['name']} is at its end"
        timeline.write(incident, "escalation.exhausted", words, by=BY)
        audit.record("incident.unanswered", incident, by=BY, because=words)
        notices.tell(incident, "unanswered", f"{incident.title}: {words}", again=str(incident.pages))
    incident.save(update_fields=["pages", "step", "lap", "next_page_at"])


def _call(incident: Incident, step: Mapping[str, Any], number: int, now: datetime) -> list[str]:
    """Tell the step's people, whoever is on call, and its channels. Whom it reached, in words."""
    text = f"{incident.title}: nobody has answered yet (step {number} of {incident.policy['name']})"
    if incident.acknowledged_at is not None:
        text = f"{incident.title}: you are asked to join (step {number} of {incident.policy['name']})"
    key = f"escalation.step:{incident.pk}:{incident.pages}"
    reached = []
    told: set[int] = set()
    for person, how in _people(step, now):
        # Named twice, or on call in two rotas: one call is enough.
        if person.pk in told:
            continue
        told.add(person.pk)
        # Whoever a policy calls is called now: that is what it is for, whatever the hour.
        ways = notices.tell_person(
            person,
            "escalation.step",
            text,
            key=f"{key}:p{person.pk}",
            incident=incident,
            urgency=Urgency.CRITICAL,
        )
        if ways:
            reached.append(f"{person}{how}")
    for channel in Channel.objects.filter(name__in=step.get("channels", ()), active=True).order_by("name"):
        notices.tell_channel(channel, "escalation.step", text, key=f"{key}:c{channel.pk}", incident=incident)
        reached.append(channel.name)
    return reached


def _people(step: Mapping[str, Any], now: datetime) -> Iterable[tuple[User, str]]:
    for person in User.objects.filter(username__in=step.get("people", ()), is_active=True).order_by("username"):
        yield person, ""
    for rota in Rota.objects.filter(key__in=step.get("rotas", ())):
        person_on_call = rotas.person_on_call(rota, now)
        if person_on_call is not None:
            yield person_on_call, f" (on call: {rota})"


def _remind(incident: Incident, now: datetime) -> None:
    """Whoever took it is asked whether they are still on it; if they do not say so, it is nobody's again."""
    if incident.status != Status.ACKNOWLEDGED:
        incident.remind_at = None
        incident.save(update_fields=["remind_at"])
        return
    name = incident.acknowledged_by
    if incident.reminded_at is None:
        text = f"{name} is asked: still on it?"
        minutes = int(GRACE.total_seconds() // 60)
        words = (
            f"{incident.title}: are you still on it? Acknowledge again within {minutes} minutes, or others are called"
        )
        key = f"incident.reminder:{incident.pk}:{now.timestamp():.3f}"
        person = incident.commander or _acknowledger(incident)
        if person is None or not notices.tell_person(person, "incident.reminder", words, key=key, incident=incident):
            notices.tell(incident, "reminder", words, again=f"{now.timestamp():.3f}")
        timeline.write(incident, "reminded", text, by=BY)
        incident.reminded_at, incident.remind_at = now, now + GRACE
        incident.save(update_fields=["reminded_at", "remind_at"])
        return
    text = f"{name} did not say that they are still on it: it is nobody's again"
    states.move(
        incident, Status.TRIGGERED, by=BY, because=text, acknowledged_at=None, acknowledged_by="", remind_at=None,
        reminded_at=None, step=0, lap=0, next_page_at=now,
    )  # fmt: skip
    timeline.write(incident, "unacknowledged", text, by=BY)
    notices.tell(incident, "unacknowledged", f"{incident.title}: {text}", again=str(incident.pages))


def _acknowledger(incident: Incident) -> User | None:
    """The person of the last acknowledgement; a key is nobody to ask."""
    last = audit.of(incident).filter(verb="incident.acknowledged", actor_kind="person").first()
    return User.objects.filter(pk=last.actor_id, is_active=True).first() if last is not None else None


def hasten(incident: Incident) -> None:
    """Somebody wants the next step now; after the last one the first. Locked by the caller."""
    if incident.policy and incident.lap > incident.policy["repeat"]:
        incident.step, incident.lap = 0, 0
        incident.save(update_fields=["step", "lap"])
    resume(incident)
