"""Taking in what a Sentry SDK sends: its events become reports of errors, the rest is counted and dropped."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings

from monitoring.actions import errors, rejections
from monitoring.actions.batches import Recorded
from monitoring.actions.error_reports import UNIT
from monitoring.sources import sentry
from monitoring.sources.sentry import Envelope
from portal import jobs, masking, permissions
from portal.audit import Actor
from portal.errors import Forbidden
from portal.models import ApiKey, Service

SOURCE = "sentry"
# A sender's clock that is further off is put right by when the sender says it sent the envelope, as Sentry does.
MOST_DRIFT = timedelta(seconds=60)


@dataclass(slots=True)
class Taken:
    """What became of an envelope: the events' ids in their order, and of each whether it was kept."""

    ids: list[str] = field(default_factory=list)
    recorded: Recorded = field(default_factory=Recorded)


def take(envelope: Envelope, project: int, *, by: Actor, now: datetime | None = None) -> Taken:
    """Take an envelope for the service of this number.

    A key that belongs to exactly one environment says which it is: every SDK names "production" unless it is told
    otherwise. What the SDK says instead is kept as the label sdk_environment.
    """
    permissions.require_scope(by, "ingest")
    service, now = service_of(project, by), now or jobs.database_now()
    taken = Taken(ids=[sentry.id_of(event, envelope.header) for event in envelope.events])
    environment, drift = _environment(by), _drift(envelope, now)
    masked = masking.names_of(settings.PORTAL_CONTEXT_MASK)
    reports = []
    for event, key in zip(envelope.events, taken.ids, strict=True):
        report = sentry.report(event, key=key, service=service.key)
        if environment:
            said = report.get("environment")
            if said and said != environment:
                report["labels"]["sdk_environment"] = said
            report["environment"] = environment
        by_name, unit = sentry.unit_of(event)
        if unit and not masking.is_masked(UNIT, masked):  # where it is, every report's unit is masked further on
            report["unit"] = masking.pseudonym(unit, by=by_name, masked=masked)
        report["time"] = _corrected(report.get("time"), drift)
        reports.append(report)
    if reports:
        taken.recorded = rejections.noted(SOURCE, errors.record(reports, by=by, now=now), by=by)
    note(envelope.dropped, envelope.lost, by=by)
    return taken


def service_of(project: int, by: Actor) -> Service:
    """The one of this number; else Forbidden as a wrong key is: who has none learns nothing of what there is."""
    rows = Service.objects.filter(pk=project)
    if isinstance(by, ApiKey) and not by.all_services:
        rows = rows.filter(keys=by)
    found = rows.first()
    if found is None:
        raise Forbidden(f"this key belongs to no project {project}")
    return found


def _environment(by: Actor) -> str:
    if isinstance(by, ApiKey) and not by.all_environments:
        bound = list(by.environments.values_list("key", flat=True)[:2])
        return bound[0] if len(bound) == 1 else ""
    return ""


def _drift(envelope: Envelope, now: datetime) -> timedelta:
    """By how much the sender's clock is behind ours; nothing where it cannot be told, or is little."""
    sent = sentry.moment(envelope.header.get("sent_at"))
    drift = now - sent if sent else timedelta()
    return drift if abs(drift) > MOST_DRIFT else timedelta()


def _corrected(time: Any, drift: timedelta) -> Any:
    at = sentry.moment(time) if drift else None
    try:
        return at + drift if at else time
    except OverflowError:
        return time


def note(dropped: Mapping[str, int], lost: Mapping[str, int], *, by: Actor) -> None:
    """Where people look for what is missing: what we drop, and what the SDK itself says it has lost."""
    for kind, many in sorted(dropped.items()):
        rejections.note(SOURCE, f"items of type {kind} are taken and not kept", by=by, count=many)
    for reason, many in sorted(lost.items()):
        rejections.note(SOURCE, f"the SDK lost errors before they came here: {reason}", by=by, count=many)
