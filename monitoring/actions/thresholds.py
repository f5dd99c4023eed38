"""Making, changing and taking away thresholds."""

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from monitoring import conditions, responses
from monitoring.actions import alerts, specs
from monitoring.models import DueThreshold, Threshold
from portal import audit, jobs, live, permissions
from portal.audit import Actor
from portal.errors import Invalid, Refused, Stale


def create(spec: Mapping[str, Any], *, by: Actor, owner: str = "", library: str = "") -> Threshold:
    """A threshold from the contract's words. `owner` ("deployment:42") alone takes it away again.

    `library`: the shipped definition that it is made of.
    """
    columns = specs.clean(spec)
    _may(columns, by)
    with transaction.atomic():
        threshold = Threshold.objects.create(
            **columns, owner=owner, library=library, created_by=audit.describe(by)[:200], due_at=jobs.database_now()
        )
        audit.record("threshold.created", threshold, by=by, after=specs.of(threshold))
        _tell(threshold)
    return threshold


def change(
    threshold: Threshold, spec: Mapping[str, Any], *, by: Actor, partly: bool = False, expected: int | None = None
) -> Threshold:
    """Replace the threshold's fields (`partly`: only those given). An alert that fires goes on, by the new bounds."""
    with transaction.atomic():
        threshold = _lock(threshold.pk, by)
        if expected is not None and expected != threshold.version:
            raise Stale(f"threshold {threshold.pk} is at version {threshold.version}, not {expected}")
        before = specs.of(threshold)
        spec = _said_anew(threshold, before, spec)
        columns = specs.clean(_merged(before, spec) if partly else spec)
        _may(columns, by)
        for name, value in columns.items():
            setattr(threshold, name, value)
        after = specs.of(threshold)
        if after == before:
            return threshold
        threshold.version += 1
        threshold.due_at = jobs.database_now()
        threshold.save()
        audit.record("threshold.changed", threshold, by=by, before=before, after=after)
        _tell(threshold)
    return threshold


def delete(threshold: Threshold, *, by: Actor, because: str = "") -> None:
    """Nobody wants it judged any more. Its alerts end; what happened stays on record."""
    with transaction.atomic():
        _retire([_lock(threshold.pk, by)], by=by, because=because)


def remove(*, owner: str, by: Actor, because: str = "") -> int:
    """The owner takes away what it made. How many thresholds there were."""
    if not owner:
        raise ValueError("which owner?")
    with transaction.atomic():
        found = Threshold.objects.active().owned_by(owner).order_by("pk")
        thresholds = list(found.select_for_update(of=("self",), no_key=True))
        _retire(thresholds, by=by, because=because)
    return len(thresholds)


def _retire(thresholds: list[Threshold], *, by: Actor, because: str) -> None:
    for threshold in thresholds:
        threshold.active = False
        threshold.version += 1
        threshold.save(update_fields=["active", "version"])
        audit.record("threshold.removed", threshold, by=by, before=specs.of(threshold), because=because)
        live.announce("thresholds", id=threshold.pk)
    if thresholds:
        DueThreshold.objects.filter(threshold__in=thresholds).delete()
        words = "threshold removed" + (f": {because}" if because else "")
        alerts.end_of_thresholds(thresholds, by=by, because=words)


def _lock(pk: int, by: Actor) -> Threshold:
    """The active threshold, locked, if `by` may configure where it is and nobody else owns it."""
    found = Threshold.objects.active().select_related("service", "environment")
    threshold = found.select_for_update(of=("self",), no_key=True).filter(pk=pk).first()
    if threshold is None:
        raise Refused(f"threshold {pk} has been removed")
    permissions.require(by, "configure", environment=threshold.environment, service=threshold.service)
    if threshold.owner:
        raise Refused(f"{threshold.name} belongs to {threshold.owner}, which alone changes it")
    return threshold


def merged(threshold: Threshold, spec: Mapping[str, Any]) -> dict[str, Any]:
    """All fields as they would be, were these changed."""
    before = specs.of(threshold)
    return _merged(before, _said_anew(threshold, before, spec))


def _said_anew(threshold: Threshold, before: Mapping[str, Any], spec: Mapping[str, Any]) -> Mapping[str, Any]:
    """What was read is put back with a change: in the fields, or in the condition; the other is as it was."""
    condition = spec.get("condition")
    if not condition:
        return spec
    if condition in (specs.text(threshold), specs.text(threshold, specs.member_names([threshold]))):
        return {name: value for name, value in spec.items() if name != "condition"}
    return {
        name: value
        for name, value in spec.items()
        if name not in conditions.FIELDS or name not in before or value != before[name]
    }


def _merged(before: Mapping[str, Any], spec: Mapping[str, Any]) -> dict[str, Any]:
    """What was and what is new; a condition in words, or in its place a metric or a combination, is all of it new."""
    if spec.get("condition"):
        return {name: value for name, value in before.items() if name not in conditions.FIELDS} | {**spec}
    if spec.get("metric") and before["combine"]:
        return {**{name: value for name, value in before.items() if name not in conditions.FIELDS}, **spec}
    return {**before, **spec}


def _may(columns: Mapping[str, Any], by: Actor) -> None:
    """May `by` configure where the metric is, and where the response would act?"""
    permissions.require(by, "configure", environment=columns["environment"], service=columns["service"])
    members = Threshold.objects.filter(pk__in=columns["members"])
    if members and permissions.visible(by, members).count() < len(members):
        # In the words of one that is not there: who may not see it learns nothing of it.
        raise Invalid.of("combine.of", "names a threshold that is not there")
    if columns["response"] and (place := responses.place_of(columns["response"], columns["target"])):
        permissions.require(by, "configure", environment=place[0], service=place[1])


def _tell(threshold: Threshold) -> None:
    live.announce("thresholds", id=threshold.pk)
    jobs.nudge("monitoring.judge")
