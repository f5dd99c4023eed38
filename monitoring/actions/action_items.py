"""What is to be done after an incident: made, given to somebody, done or dropped."""

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from monitoring.actions import notices, timeline
from monitoring.models import ActionItem, Incident
from portal import audit, jobs, live, permissions, states
from portal.audit import Actor
from portal.errors import Invalid

FIELDS = ("title", "owner", "due_on")
MOST = 100  # of one incident
Status = ActionItem.Status


def add(incident: Incident, fields: Mapping[str, Any], *, by: Actor) -> ActionItem:
    """`title`, and if known `owner` and `due_on`. The owner is told."""
    _may(incident, by)
    with transaction.atomic():
        Incident.objects.select_for_update(of=("self",)).get(pk=incident.pk)
        if incident.action_items.count() >= MOST:
            raise Invalid.of("title", f"at most {MOST} action items of one incident")
        made = ActionItem(incident=incident)
        _write(made, fields)
        audit.record("action_item.added", made, by=by, after=shown(made))
        timeline.write(incident, "action_item.added", f"to be done: {made.title}", by=by, data={"item": made.pk})
        _tell_owner(made, by)
        live.announce("incidents", id=incident.pk)
    return made


def change(item: ActionItem, fields: Mapping[str, Any], *, by: Actor) -> ActionItem:
    """Another title, owner or date."""
    _may(item.incident, by)
    with transaction.atomic():
        found = _lock(item)
        before, owner = shown(found), found.owner
        _write(found, fields)
        if shown(found) != before:
            audit.record("action_item.changed", found, by=by, before=before, after=shown(found))
            if found.owner != owner:
                _tell_owner(found, by)
            live.announce("incidents", id=found.incident_id)
    return found


def end(item: ActionItem, status: str, *, by: Actor, because: str = "") -> ActionItem:
    """Done; dropped, with a reason; or open again. Whoever owns it may say so, too."""
    if by != item.owner:
        _may(item.incident, by)
    if status not in Status.values:
        raise Invalid.of("status", f"must be one of {', '.join(Status.values)}")
    if status == Status.DROPPED and not because.strip():
        raise Invalid.of("because", "say why nothing is done")
    with transaction.atomic():
        found = _lock(item)
        ended_at = None if status == Status.OPEN else jobs.database_now()
        if states.move(found, status, by=by, because=because, ended_at=ended_at):
            words = f"{found.title}: {status}" + (f", {because}" if because else "")
            timeline.write(found.incident, f"action_item.{status}", words, by=by, data={"item": found.pk})
            live.announce("incidents", id=found.incident_id)
    return found


def shown(item: ActionItem) -> dict[str, Any]:
    return {
        "title": item.title,
        "owner": item.owner.username if item.owner else None,
        "due_on": item.due_on.isoformat() if item.due_on else None,
    }


def _write(item: ActionItem, fields: Mapping[str, Any]) -> None:
    for name in FIELDS:
        if name in fields:
            setattr(item, name, fields[name])
    title = item.title.strip()
    if not 1 <= len(title) <= 300:
        raise Invalid.of("title", "say what is to be done, in at most 300 characters")
    item.title = title
    if item.owner is not None and not item.owner.is_active and "owner" in fields:
        raise Invalid.of("owner", "has left")
    item.save()


def _tell_owner(item: ActionItem, by: Actor) -> None:
    if item.owner is None or item.owner == by:
        return
    due = f", due {item.due_on:%d %b}" if item.due_on else ""
    now = jobs.database_now().timestamp()
    key = f"action_item:{item.pk}:{item.owner.pk}:{now:.3f}"
    text = f"{item.incident.title}: {item.title} is yours to do{due}"
    notices.tell_person(item.owner, "action_item.assigned", text, key=key, incident=item.incident)


def _may(incident: Incident, by: Actor) -> None:
    permissions.require(
        by, "operate", environment=incident.environment or permissions.ANY, service=incident.service or permissions.ANY
    )


def _lock(item: ActionItem) -> ActionItem:
    rows = ActionItem.objects.select_related("incident__service", "incident__environment", "owner")
    return rows.select_for_update(of=("self",)).get(pk=item.pk)
