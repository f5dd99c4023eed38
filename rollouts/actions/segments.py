"""Making, changing and deleting segments."""

from collections.abc import Mapping
from copy import copy
from typing import Any

from django.db import transaction
from django.db.models import Max

from portal import audit, permissions
from portal.audit import Actor
from portal.errors import Invalid, Refused, Stale
from rollouts.actions import flag_writes, protection, references
from rollouts.engine import reading
from rollouts.engine.revisions import alike, difference
from rollouts.engine.types import SegmentSource
from rollouts.models import Audience, ChangeRequest, FlagConfig, Segment, SegmentRevision
from rollouts.queries import uses

FIELDS = ("name", "description", "conditions", "included", "excluded")
DECIDING = ("conditions", "included", "excluded")  # who belongs
MOST_UNITS = 50_000


def create(key: str, *, by: Actor, because: str = "", **fields: Any) -> Segment:
    return _create(key, fields, verb="segment.created", by=by, because=because)


def change(
    segment: Segment,
    changes: Mapping[str, Any],
    *,
    by: Actor,
    because: str = "",
    expected_revision: int | None = None,
) -> bool:
    """False when it is like that already."""
    return _change(
        segment, changes, verb="segment.changed", by=by, because=because, expected_revision=expected_revision
    )


def delete(segment: Segment, *, by: Actor, because: str = "", expected_revision: int | None = None) -> None:
    """Refused while a flag or another segment uses it."""
    with transaction.atomic():
        flag_writes.stand_in_line()
        flag_writes.current(segment)
        _require(by, uses.configs_through(segment.key))
        _expect(segment, expected_revision)
        references.refuse_if_segment_used(segment.key)
        audience = Audience.objects.filter(segment=segment).first()
        if audience is not None:
            raise Refused(f"segment {segment} is that of audience {audience}")
        before = segment.document()
        audit.record("segment.deleted", segment, by=by, before=before, because=because)
        _keep(segment, before, None, segment.revision + 1, by=by, because=because)
        segment.delete()
        flag_writes.publish()


def restore(key: str, revision: int, *, by: Actor, because: str = "", expected_revision: int | None = None) -> Segment:
    """Make an earlier revision the current one, as a new revision; a deleted segment is there again."""
    kept = SegmentRevision.objects.filter(segment=key, number=revision).first()
    if kept is None or kept.document is None:
        raise Invalid.of("revision", f"segment {key} has no revision {revision} that could be restored")
    fields = {name: kept.document[name] for name in FIELDS}
    because = because or f"back to revision {revision}"
    try:
        with transaction.atomic():
            flag_writes.stand_in_line()
            segment = Segment.objects.filter(key=key).first()
            if segment is None:
                return _create(key, fields, verb="segment.restored", by=by, because=because)
            _change(
                segment, fields, verb="segment.restored", by=by, because=because, expected_revision=expected_revision
            )
            return segment
    except Invalid as error:
        raise Refused(f"revision {revision} of segment {key} no longer fits: {error}") from None


def carry_out(segment: Segment, changes: Mapping[str, Any], *, request: ChangeRequest, by: Actor, because: str) -> bool:
    """What a change request says of a segment, now that it may."""
    return _change(segment, changes, verb="segment.changed", by=by, because=because, request=request)


def proposed(segment: Segment, given: Mapping[str, Any], over: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The segment's document as it would be stored; Invalid names each field that is wrong."""
    as_asked = copy(segment)
    _set(as_asked, {**(over or {}), **given})
    return as_asked.document()


# --- How ----------------------------------------------------------------------------------------
def _create(key: str, fields: Mapping[str, Any], *, verb: str, by: Actor, because: str) -> Segment:
    permissions.require(by, "configure", environment=permissions.ANY, service=permissions.ANY)
    faults = reading.Faults()
    reading.a_key(key, "key", faults)
    if faults:
        raise Invalid(faults)
    with transaction.atomic():
        flag_writes.stand_in_line()
        if Segment.objects.filter(key=key).exists():
            raise Refused(f"there is a segment {key} already")
        segment = Segment(key=key)
        _set(segment, fields)
        last = SegmentRevision.objects.filter(segment=key).aggregate(last=Max("number"))["last"] or 0
        segment.revision = last + 1
        segment.save(force_insert=True)
        audit.record(verb, segment, by=by, after=segment.document(), because=because)
        _keep(segment, {}, segment.document(), segment.revision, by=by, because=because)
        flag_writes.publish(segment)
    return segment


def _change(
    segment: Segment,
    changes: Mapping[str, Any],
    *,
    verb: str,
    by: Actor,
    because: str,
    expected_revision: int | None = None,
    request: ChangeRequest | None = None,
) -> bool:
    with transaction.atomic():
        flag_writes.stand_in_line()
        flag_writes.current(segment)
        reached = uses.configs_through(segment.key)
        _require(by, reached)
        _expect(segment, expected_revision)
        before = segment.document()
        _set(segment, changes)
        after = segment.document()
        if alike(after, before):
            return False
        if request is None and not alike([after[name] for name in DECIDING], [before[name] for name in DECIDING]):
            protection.refuse_segment(segment, reached)
        segment.revision += 1
        segment.save()
        audit.record(verb, segment, by=by, before=before, after=after, because=because)
        _keep(segment, before, after, segment.revision, by=by, because=because, request=request)
        flag_writes.publish(segment)
    return True


def _keep(
    segment: Segment,
    before: Mapping[str, Any],
    after: Mapping[str, Any] | None,
    number: int,
    *,
    by: Actor,
    because: str,
    request: ChangeRequest | None = None,
) -> None:
    SegmentRevision.objects.create(
        segment=segment.key,
        number=number,
        document=after,
        diff=difference(before, dict.fromkeys(before) if after is None else after),
        actor=audit.describe(by)[:200],
        because=because,
        change_request=request,
    )


def require(by: Actor, segment: Segment) -> None:
    """Raise Forbidden unless `by` may decide whom the segment reaches."""
    _require(by, uses.configs_through(segment.key))


def _require(by: Actor, reached: list[FlagConfig]) -> None:
    """Whoever changes a segment changes every flag that it reaches."""
    for config in reached:
        permissions.require(by, "operate", environment=config.environment, service=config.flag.service)
    if not reached:
        permissions.require(by, "configure", environment=permissions.ANY, service=permissions.ANY)


def _expect(segment: Segment, revision: int | None) -> None:
    if revision is not None and revision != segment.revision:
        raise Stale(f"segment {segment} is at revision {segment.revision}, not {revision}")


def _set(segment: Segment, fields: Mapping[str, Any]) -> None:
    """Check the fields and set them; Invalid names each that is wrong."""
    faults = reading.Faults()
    reading.an_object(fields, "", faults, fields=FIELDS)
    for name in ("name", "description"):
        if name in fields:
            text = fields[name]
            longest = 200 if name == "name" else 10_000
            setattr(segment, name, reading.a_text(text, name, faults, longest=longest) if text != "" else "")
    if "conditions" in fields:
        segment.conditions = reading.conditions(fields["conditions"], "conditions", faults)
    for name in ("included", "excluded"):
        if name in fields:
            units = reading.a_list(fields[name], name, faults, most=MOST_UNITS)
            read = [reading.a_text(unit, f"{name}[{n}]", faults) for n, unit in enumerate(units)]
            setattr(segment, name, list(dict.fromkeys(read)))
    both = set(segment.included) & set(segment.excluded)
    if both:
        faults.add("excluded", f"{min(both)} is included already")
    if faults:
        raise Invalid(faults)
    references.check_segment(SegmentSource(segment.key, segment.conditions, segment.included, segment.excluded))
