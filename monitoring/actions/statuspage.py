"""What the public is told: components, incidents and maintenance, by people; by itself where that was asked for."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from django.db import transaction

from monitoring.models import Incident, StatusComponent, StatusIncident, StatusUpdate
from monitoring.models.incidents import OPEN
from portal import audit, jobs, permissions, states
from portal.audit import Actor, Automaton
from portal.errors import Invalid, Refused

BY = Automaton("status page")
Kind, Status = StatusIncident.Kind, StatusIncident.Status
FIRST = {Kind.INCIDENT: Status.INVESTIGATING, Kind.MAINTENANCE: Status.SCHEDULED}
OVER = (Status.RESOLVED, Status.COMPLETED)
IMPACTS = {"SEV1": "critical", "SEV2": "major"}
LONGEST_BODY = 10_000
FIELDS = ("name", "description", "position", "service", "environment", "auto_publish")


def create_component(fields: Mapping[str, Any], *, by: Actor) -> StatusComponent:
    permissions.require(by, "configure", environment=permissions.ANY, service=permissions.ANY)
    return _write(StatusComponent(), fields, by=by)


def change_component(component: StatusComponent, fields: Mapping[str, Any], *, by: Actor) -> StatusComponent:
    """Replace the fields given; `status` is a person's word."""
    permissions.require(by, "configure", environment=permissions.ANY, service=permissions.ANY)
    fields = dict(fields)
    status = fields.pop("status", None)
    with transaction.atomic():
        component = _write(component, fields, by=by)
        if status is not None:
            set_status(component, status, by=by)
    return component


def set_status(component: StatusComponent, status: str, *, by: Actor, because: str = "") -> None:
    """A person's word goes before what is computed; `computed` takes it back."""
    permissions.require(by, "operate", environment=permissions.ANY, service=permissions.ANY)
    states.move(component, status, by=by, because=because)


def delete_component(component: StatusComponent, *, by: Actor) -> None:
    permissions.require(by, "configure", environment=permissions.ANY, service=permissions.ANY)
    with transaction.atomic():
        audit.record("statuscomponent.deleted", component, by=by)
        component.delete()


def publish(
    name: str,
    body: str,
    *,
    by: Actor,
    kind: str = Kind.INCIDENT,
    impact: str = StatusIncident.Impact.MINOR,
    components: Collection[StatusComponent] = (),
    incident: Incident | None = None,
    scheduled_for: datetime | None = None,
    scheduled_until: datetime | None = None,
    automatic: bool = False,
) -> StatusIncident:
    """Tell the public. Of maintenance, from when to when."""
    permissions.require(by, "operate", environment=permissions.ANY, service=permissions.ANY)
    if kind == Kind.MAINTENANCE:
        if scheduled_for is None or scheduled_until is None:
            raise Invalid.of("scheduled_for" if scheduled_for is None else "scheduled_until", "maintenance needs it")
        if scheduled_until <= scheduled_for:
            raise Invalid.of("scheduled_until", "must be after scheduled_for")
    elif scheduled_for or scheduled_until:
        raise Invalid.of("scheduled_for", "is for maintenance")
    with transaction.atomic():
        now = jobs.database_now()
        told = StatusIncident.objects.create(
            name=name,
            kind=kind,
            impact=impact,
            status=FIRST[Kind(kind)],
            incident=incident,
            automatic=automatic,
            started_at=now,
            updated_at=now,
            scheduled_for=scheduled_for,
            scheduled_until=scheduled_until,
        )
        told.components.set(components)
        _say(told, body, now=now)
        after = {"name": name, "status": told.status, "impact": impact, "body": body}
        audit.record("statusincident.published", told, by=by, after=after)
    return told


def update(told: StatusIncident, body: str, *, by: Actor, status: str = "", impact: str = "") -> None:
    """Say more, and how it stands now; what is over stays as it was told."""
    permissions.require(by, "operate", environment=permissions.ANY, service=permissions.ANY)
    with transaction.atomic():
        now = jobs.database_now()
        to = status or told.status
        changes: dict[str, Any] = {"updated_at": now}
        if to == Status.MONITORING:
            changes["monitoring_at"] = now
        if to in OVER:
            changes["resolved_at"] = now
        if impact:
            changes["impact"] = impact
        moved = states.move(told, to, by=by, because=body, **changes)
        if not moved:
            if told.status in OVER:
                raise Refused(f"it is {told.status}: publish another one")
            told.impact, told.updated_at = impact or told.impact, now
            told.save(update_fields=["impact", "updated_at"])
            audit.record("statusincident.updated", told, by=by, because=body)
        _say(told, body, now=now)


def keep(*, now: datetime | None = None) -> int:
    """Begin and end maintenance that is due, and publish what is to be published by itself. How much was done."""
    now = now or jobs.database_now()
    planned = StatusIncident.objects.filter(kind=Kind.MAINTENANCE)
    done = 0
    for one in planned.filter(status=Status.SCHEDULED, scheduled_for__lte=now):
        update(one, "The maintenance has begun.", status=Status.IN_PROGRESS, by=BY)
        done += 1
    for one in planned.filter(status__in=(Status.IN_PROGRESS, Status.VERIFYING), scheduled_until__lte=now):
        update(one, "The maintenance is over.", status=Status.COMPLETED, by=BY)
        done += 1
    for one in StatusIncident.objects.filter(automatic=True).exclude(status__in=OVER).exclude(incident=None):
        if one.incident is not None and one.incident.status not in OPEN:
            update(one, "This is resolved.", status=Status.RESOLVED, by=BY)
            done += 1
    return done + _publish_by_itself()


def _publish_by_itself() -> int:
    """For each open incident of a component that asked for it, once: that there is trouble, and nothing more."""
    asked = StatusComponent.objects.filter(auto_publish=True).exclude(service=None)
    wanted: dict[int, list[StatusComponent]] = {}
    for component in asked:
        rows = Incident.objects.open().filter(service=component.service_id, severity__in=IMPACTS, published=None)
        if component.environment_id:
            rows = rows.filter(environment=component.environment_id)
        for pk in rows.values_list("pk", flat=True):
            wanted.setdefault(pk, []).append(component)
    for incident in Incident.objects.filter(pk__in=wanted):
        components = wanted[incident.pk]
        names = ", ".join(component.name for component in components)
        publish(
            f"Trouble with {names}"[:200],
            "We have noticed a problem and are looking into it.",
            by=BY,
            impact=IMPACTS[incident.severity],
            components=components,
            incident=incident,
            automatic=True,
        )
    return len(wanted)


def _write(component: StatusComponent, fields: Mapping[str, Any], *, by: Actor) -> StatusComponent:
    with transaction.atomic():
        is_new = component.pk is None
        before = None if is_new else _shown(component)
        for name, value in fields.items():
            setattr(component, name, value)
        if StatusComponent.objects.filter(name=component.name).exclude(pk=component.pk).exists():
            raise Refused(f"there is a component named {component.name} already")
        component.save()
        if before != _shown(component):
            verb = f"statuscomponent.{'created' if is_new else 'changed'}"
            audit.record(verb, component, by=by, before=before, after=_shown(component))
    return component


def _shown(component: StatusComponent) -> dict[str, Any]:
    return {name: str(getattr(component, name)) for name in FIELDS}


def _say(told: StatusIncident, body: str, *, now: datetime) -> None:
    if not body.strip():
        raise Invalid.of("body", "say something")
    if len(body) > LONGEST_BODY:
        raise Invalid.of("body", f"is longer than {LONGEST_BODY} characters")
    StatusUpdate.objects.create(incident=told, status=told.status, body=body, at=now)
