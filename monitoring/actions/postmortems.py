"""Post-mortems: owed when an incident is resolved, asked for in time, written, published or waived."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.db import transaction

from monitoring.actions import incoming, notices, timeline
from monitoring.models import Incident, PostMortem, PostMortemVersion, Severity
from monitoring.queries.postmortems import SECTIONS, draft
from portal import audit, jobs, live, permissions, states
from portal.audit import Actor, Automaton
from portal.errors import Invalid, Refused, Stale

BY = Automaton("post-mortems")
WITHIN = timedelta(hours=48)  # of the resolution
REMINDED_BEFORE = timedelta(hours=24)
REMINDED_EVERY = timedelta(hours=24)
OWED_FOR = (Severity.SEV1, Severity.SEV2, Severity.SEV3)
# Without these nothing is learnt.
NEEDED = ("summary", "root_cause")
LONGEST = 50_000  # characters of a section
Status = PostMortem.Status


def owe(incident: Incident) -> None:
    """In the transaction that resolves the incident (locked by the caller): drafted, and due 48 hours later."""
    if incident.severity not in OWED_FOR or incident.resolved_at is None:
        return
    due_at = incident.resolved_at + WITHIN
    PostMortem.objects.get_or_create(
        incident=incident,
        defaults={"content": draft(incident), "due_at": due_at, "remind_at": due_at - REMINDED_BEFORE},
    )


def missing(incident: Incident) -> str:
    """What keeps the incident from being closed, in words; "" when nothing does."""
    found = PostMortem.objects.filter(incident=incident, status=Status.DRAFT).first()
    if found is None:
        return ""
    return f"its post-mortem is not done (due {found.due_at:%d %b %H:%M} UTC): publish it, or waive it with a reason"


def edit(
    post_mortem: PostMortem, content: Mapping[str, Any], *, by: Actor, expected_version: int | None = None
) -> PostMortem:
    """Replace the sections given: a new version, kept beside the others. One that is published may still be mended."""
    _may(post_mortem, by)
    faults = {name: f"must be one of {', '.join(SECTIONS)}" for name in content if name not in SECTIONS}
    for name, text in content.items():
        if not isinstance(text, str) or len(text) > LONGEST or incoming.UNKEEPABLE.search(text):
            faults.setdefault(name, f"must be text of at most {LONGEST} characters, none of them NUL")
    if faults:
        raise Invalid(faults)
    with transaction.atomic():
        found = _lock(post_mortem)
        if expected_version is not None and found.version != expected_version:
            raise Stale(f"somebody else has edited it meanwhile: it is version {found.version}")
        after = found.content | dict(content)
        if after == found.content:
            return found
        found.content = after
        found.version += 1
        found.save(update_fields=["content", "version"])
        PostMortemVersion.objects.create(
            post_mortem=found, number=found.version, content=after, author=audit.describe(by)[:200]
        )
        audit.record("postmortem.edited", found, by=by, after={"version": found.version, "sections": sorted(content)})
        live.announce("incidents", id=found.incident_id)
    return found


def publish(post_mortem: PostMortem, *, by: Actor) -> PostMortem:
    """It is done. Everybody who was told of the incident is told where it is."""
    _may(post_mortem, by)
    with transaction.atomic():
        found = _lock(post_mortem)
        empty = [SECTIONS[name] for name in NEEDED if not str(found.content.get(name, "")).strip()]
        if empty:
            raise Refused(f"it cannot be published yet: {' and '.join(empty)} missing")
        moved = states.move(found, Status.PUBLISHED, by=by, published_at=jobs.database_now(), remind_at=None)
        if moved:
            words = f"post-mortem published by {audit.describe(by)}"
            timeline.write(found.incident, "postmortem.published", words, by=by)
            notices.tell(found.incident, "postmortem_published", f"{found.incident.title}: {words}")
            live.announce("incidents", id=found.incident_id)
    return found


def waive(post_mortem: PostMortem, *, by: Actor, because: str) -> PostMortem:
    """There is nothing to learn, says somebody, and why."""
    _may(post_mortem, by)
    if not because.strip():
        raise Invalid.of("because", "say why")
    with transaction.atomic():
        found = _lock(post_mortem)
        if states.move(found, Status.WAIVED, by=by, because=because, waived_because=because, remind_at=None):
            words = f"post-mortem waived by {audit.describe(by)}: {because}"
            timeline.write(found.incident, "postmortem.waived", words, by=by)
            live.announce("incidents", id=found.incident_id)
    return found


def remind_due() -> int:
    """Ask for those that are due within a day, then each day that they are late. How many were asked for."""
    due = PostMortem.objects.filter(remind_at__lte=jobs.database_now()).order_by("remind_at", "id")
    return sum(_remind(pk) for pk in list(due.values_list("pk", flat=True)))


def _remind(pk: int) -> bool:
    with transaction.atomic():
        now = jobs.database_now()
        rows = PostMortem.objects.filter(pk=pk, status=Status.DRAFT, remind_at__lte=now)
        found = jobs.claim(rows.select_related("incident__definition", "incident__commander"))
        if found is None:
            return False
        incident = found.incident
        is_late = found.due_at <= now
        text = f"post-mortem {'overdue since' if is_late else 'due'} {found.due_at:%d %b %H:%M} UTC"
        key = f"postmortem.{'late' if is_late else 'due'}:{found.pk}:{now.timestamp():.6f}"
        words = f"{incident.title}: {text}"
        person = incident.commander
        told = person and notices.tell_person(person, "incident.postmortem_due", words, key=key, incident=incident)
        if is_late or not told:
            notices.tell(incident, "postmortem_due", words, again=key)
        timeline.write(incident, "postmortem.reminded", text, by=BY)
        # After an outage it is asked for once, not for each day that was missed.
        found.remind_at = now + REMINDED_EVERY if is_late else max(found.due_at, now)
        found.save(update_fields=["remind_at"])
        live.announce("incidents", id=incident.pk)
    return True


def _may(post_mortem: PostMortem, by: Actor) -> None:
    incident = post_mortem.incident
    permissions.require(
        by, "operate", environment=incident.environment or permissions.ANY, service=incident.service or permissions.ANY
    )


def _lock(post_mortem: PostMortem) -> PostMortem:
    """The incident first, as everywhere."""
    Incident.objects.select_for_update(of=("self",)).get(pk=post_mortem.incident_id)
    rows = PostMortem.objects.select_related("incident__definition", "incident__service", "incident__environment")
    return rows.select_for_update(of=("self",)).get(pk=post_mortem.pk)
