"""What is done to releases: they are announced, and their notes and dates corrected until they are deployed."""

from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from portal import audit, live, permissions
from portal.audit import Actor
from portal.errors import Invalid, Refused
from portal.models import Service
from rollouts.models import NOT_BEGUN, Release

CHANGEABLE = ("commit", "type", "risk", "notes", "captain", "zone", "t0")
# What a running deployment was approved with; notes and captain may still be corrected.
SETTLED_ONCE_DEPLOYED = ("commit", "type", "t0")


def create(
    service: Service,
    version: str,
    *,
    by: Actor,
    commit: str = "",
    type: str = Release.Type.CANARY,  # noqa: A002  (the contract's name)
    risk: str = Release.Risk.MEDIUM,
    notes: str = "",
    captain: str = "",
    zone: str = "UTC",
    t0: datetime | None = None,
) -> Release:
    permissions.require(by, "configure", environment=permissions.ANY, service=service)
    release = Release(
        service=service,
        version=version,
        commit=commit,
        type=type,
        risk=risk,
        notes=notes,
        captain=captain,
        zone=zone,
        t0=t0,
    )
    _check(release)
    try:
        with transaction.atomic():
            release.save(force_insert=True)
            release.refresh_from_db()
            audit.record("release.created", release, by=by, after=_shown(release))
            live.announce("releases", id=release.pk)
    except IntegrityError:
        raise Refused(f"{service} already has a release {version}") from None
    return release


def change(release: Release, *, by: Actor, **changes: Any) -> Release:
    """Correct it. What was approved stays as it was once a deployment has begun."""
    with transaction.atomic():
        release = Release.objects.select_for_update(of=("self",)).select_related("service").get(pk=release.pk)
        permissions.require(by, "configure", environment=permissions.ANY, service=release.service)
        before = _shown(release)
        for name, value in changes.items():
            if name not in CHANGEABLE:
                raise Invalid.of(name, "cannot be changed")
            setattr(release, name, value)
        after = _shown(release)
        changed = [name for name in CHANGEABLE if before[name] != after[name]]
        if not changed:
            return release
        _check(release)
        settled = [name for name in changed if name in SETTLED_ONCE_DEPLOYED]
        begun = release.deployments.exclude(status__in=[*NOT_BEGUN, "cancelled", "rejected"]).first()
        if settled and begun:
            raise Refused(f"{begun} has begun: {', '.join(settled)} of {release} cannot be changed any more")
        release.save(update_fields=changed)
        release.deployments.filter(status="scheduled").update(due_at=release.t0 or Now())
        audit.record("release.changed", release, by=by, before=before, after=after)
        live.announce("releases", id=release.pk)
    return release


def _check(release: Release) -> None:
    try:
        release.full_clean(validate_unique=False, validate_constraints=False)
    except ValidationError as mistakes:
        raise Invalid({name: "; ".join(texts) for name, texts in mistakes.message_dict.items()}) from None


def _shown(release: Release) -> dict[str, Any]:
    return {"version": release.version, **{name: getattr(release, name) for name in CHANGEABLE}}
