"""The verbs of audiences: offering something that one may join, and taking down who joins and who leaves."""

from collections.abc import Iterable, Mapping
from typing import Any

from django.db import transaction
from django.utils import timezone

from portal import audit, permissions, versions
from portal.audit import Actor
from portal.errors import Invalid, Refused
from rollouts.actions import flag_writes, protection, references, segments
from rollouts.engine import reading
from rollouts.models import Audience, AudienceMember, Segment
from rollouts.queries import uses

FIELDS = ("name", "description", "open", "capacity")
MOST_AT_ONCE = 10_000
SHOWN_IN_AUDIT = 20  # units


# --- Offering -----------------------------------------------------------------------------------
def create(key: str, *, by: Actor, segment: str | None = None, because: str = "", **fields: Any) -> Audience:
    """An audience of a segment that is there, or of a new one of the same key."""
    permissions.require(by, "configure", environment=permissions.ANY, service=permissions.ANY)
    faults = reading.Faults()
    reading.a_key(key, "key", faults)
    if segment is not None:
        reading.a_key(segment, "segment", faults)
    audience = Audience(key=key)
    _set(audience, fields, faults)
    with transaction.atomic():
        flag_writes.stand_in_line()
        if Audience.objects.filter(key=key).exists():
            raise Refused(f"there is an audience {key} already")
        audience.segment = _segment(segment, key, by=by, because=because)
        audience.save(force_insert=True)
        audit.record("audience.created", audience, by=by, after=_document(audience), because=because)
        flag_writes.publish(audience.segment)
    return audience


def change(audience: Audience, changes: Mapping[str, Any], *, by: Actor, because: str = "") -> bool:
    """False when it is like that already."""
    with transaction.atomic():
        _take(audience)
        segments.require(by, audience.segment)
        before = _document(audience)
        faults = reading.Faults()
        reading.an_object(changes, "", faults, fields=FIELDS)
        _set(audience, changes, faults)
        if _document(audience) == before:
            return False
        audience.save()
        audit.record("audience.changed", audience, by=by, before=before, after=_document(audience), because=because)
    return True


def delete(audience: Audience, *, by: Actor, because: str = "") -> None:
    """With everybody's word. Refused while a flag or another segment uses its segment; the segment stays."""
    with transaction.atomic():
        flag_writes.stand_in_line()
        _take(audience)
        segments.require(by, audience.segment)
        references.refuse_if_segment_used(audience.segment.key)
        audit.record("audience.deleted", audience, by=by, before=_document(audience), because=because)
        audience.delete()
        flag_writes.publish(audience.segment)


def revoke_links(audience: Audience, *, by: Actor, because: str = "") -> None:
    """Every link that was made until now is worth nothing from now on."""
    with transaction.atomic():
        _take(audience)
        segments.require(by, audience.segment)
        audience.link_epoch += 1
        audience.save(update_fields=["link_epoch"])
        audit.record("audience.links_revoked", audience, by=by, after={"epoch": audience.link_epoch}, because=because)


# --- Joining and leaving ------------------------------------------------------------------------
def enrol(audience: Audience, units: Iterable[str], *, joined: bool, by: Actor, because: str = "") -> list[str]:
    """Take down that these units join, or leave; the ones of whom that was not known before."""
    named = _units(units)
    with transaction.atomic():
        _take(audience)
        segments.require(by, audience.segment)
        said = dict(audience.members.filter(unit__in=named).values_list("unit", "joined"))
        news = [unit for unit in named if said.get(unit) is not joined]
        if not news:
            return []
        if joined:
            _refuse_if_full(audience, len(news))
            audience.members_joined += len(news)
        else:
            audience.members_joined -= sum(said.get(unit) is True for unit in news)
        audience.save(update_fields=["members_joined"])
        told: dict[str, Any] = {"units": len(news), "first": news[:SHOWN_IN_AUDIT]}
        audit.record(f"audience.{'joined' if joined else 'left'}", audience, by=by, after=told, because=because)
        _write(audience, news, joined=joined, actor=audit.describe(by))
    return news


def _write(audience: Audience, units: list[str], *, joined: bool, actor: str) -> None:
    """Nothing is announced: the poll of each second takes over whoever has joined in it, thousands as one."""
    version = versions.bump("flags")
    now = timezone.now()
    AudienceMember.objects.bulk_create(
        [
            AudienceMember(
                audience=audience, unit=unit, joined=joined, actor=actor[:200], at=now, changed_in=version
            )  # fmt: skip
            for unit in units
        ],
        update_conflicts=True,
        unique_fields=["audience", "unit"],
        update_fields=["joined", "actor", "at", "changed_in"],
        batch_size=2000,
    )


def _refuse_if_full(audience: Audience, more: int) -> None:
    if not audience.open:
        raise Refused(f"audience {audience} is closed: nobody joins any more")
    if audience.capacity is not None and audience.members_joined + more > audience.capacity:
        free = max(0, audience.capacity - audience.members_joined)
        raise Refused(f"audience {audience} takes {audience.capacity} members and has room for {free}")


def _units(units: Iterable[str]) -> list[str]:
    faults = reading.Faults()
    listed = reading.a_list(list(units), "units", faults, most=MOST_AT_ONCE)
    named = [reading.a_text(unit, f"units[{n}]", faults) for n, unit in enumerate(listed)]
    if not listed:
        faults.add("units", "names at least one")
    if faults:
        raise Invalid(faults)
    return list(dict.fromkeys(named))


# --- How ----------------------------------------------------------------------------------------
def _take(audience: Audience) -> None:
    """The row as it is now, ours until the end of the transaction."""
    found = Audience.objects.select_for_update(of=("self",)).select_related("segment").filter(pk=audience.pk).first()
    if found is None:
        raise Refused(f"audience {audience} is gone")
    for name in ("open", "capacity", "members_joined", "link_epoch", "name", "description"):
        setattr(audience, name, getattr(found, name))
    audience.segment = found.segment


def _segment(wanted: str | None, key: str, *, by: Actor, because: str) -> Segment:
    if wanted is None:
        return segments.create(key, by=by, because=because)
    found = Segment.objects.filter(key=wanted).first()
    if found is None:
        raise Invalid.of("segment", f"there is no segment {wanted}")
    segments.require(by, found)
    protection.refuse_segment(found, uses.configs_through(found.key))
    if Audience.objects.filter(segment=found).exists():
        raise Refused(f"segment {wanted} has an audience already: {found.audience}")
    return found


def _set(audience: Audience, fields: Mapping[str, Any], faults: reading.Faults) -> None:
    """Check the fields and set them; Invalid names each that is wrong."""
    for name, longest in (("name", 200), ("description", 10_000)):
        if name in fields:
            text = fields[name]
            setattr(audience, name, reading.a_text(text, name, faults, longest=longest) if text != "" else "")
    if "open" in fields:
        audience.open = reading.a_truth(fields["open"], "open", faults)
    if "capacity" in fields:
        capacity = fields["capacity"]
        if capacity is not None and (type(capacity) is not int or not 0 <= capacity < 2**31):
            faults.add("capacity", "must be a whole number, or null for any number")
        audience.capacity = capacity
    if faults:
        raise Invalid(faults)


def _document(audience: Audience) -> dict[str, Any]:
    return {"segment": audience.segment.key, **{name: getattr(audience, name) for name in FIELDS}}
