"""What a change request is about: how it stands, how an edit of it is read, whom it concerns, how it is carried out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from portal import permissions
from portal.audit import Actor
from portal.errors import Invalid, Refused
from portal.models import Environment, Service
from rollouts.actions import flag_writes, flags, references, segments
from rollouts.models import ChangeRequest, Flag, FlagConfig, Segment
from rollouts.queries import uses

Document = dict[str, Any]
Kind = ChangeRequest.Kind
# What one has to be allowed in each of its places to ask for it, and to apply it.
RIGHTS = {Kind.CONFIG: "operate", Kind.VARIANTS: "configure", Kind.SEGMENT: "operate"}


@dataclass(frozen=True, slots=True)
class Standing:
    """How the thing is now."""

    revision: int
    document: Document


@dataclass(frozen=True, slots=True)
class Place:
    """Where, and for whose users, it changes something."""

    environment: Environment
    service: Service | None


def standing(request: ChangeRequest) -> Standing:
    if request.kind == Kind.SEGMENT:
        segment = _segment(request)
        return Standing(segment.revision, segment.document())
    flag = flag_of(request)
    if request.kind == Kind.VARIANTS:
        return Standing(flag.revision, {"variants": flag.variants})
    config = _config(request, flag)
    return Standing(config.revision, config.document())


def read(request: ChangeRequest, given: Any, over: Document | None = None) -> Document:
    """The whole document that is asked for: these fields over what is there, or over an earlier proposal.

    Invalid names each field that is wrong, as a part of `document`.
    """
    if not isinstance(given, Mapping):
        raise Invalid.of("document", "must be an object")
    try:
        return _READERS[request.kind](request, given, over)
    except Invalid as error:
        raise Invalid({f"document.{at}" if at else "document": text for at, text in error.errors.items()}) from None


def places(request: ChangeRequest) -> list[Place]:
    """Those whose approvers have to agree: the protected ones where there are any, otherwise all that it reaches."""
    if request.kind == Kind.CONFIG and request.environment is not None and request.flag is not None:
        return [Place(request.environment, request.flag.service)]
    if request.kind == Kind.SEGMENT:
        reached = uses.configs_through(request.segment)
    else:
        reached = list(FlagConfig.objects.filter(flag=request.flag).select_related("flag__service", "environment"))
    protected = [one for one in reached if one.environment.protected]
    return list({Place(one.environment, one.flag.service): None for one in protected or reached})


def require(by: Actor, request: ChangeRequest) -> None:
    """Whoever asks for it, or applies it, may do so everywhere that it reaches."""
    for place in places(request):
        permissions.require(by, RIGHTS[Kind(request.kind)], environment=place.environment, service=place.service)


def may(by: Actor, request: ChangeRequest, what: str = "") -> bool:
    """Whether `by` may do this (or ask for it, and apply it) in every place of the request."""
    what = what or RIGHTS[Kind(request.kind)]
    return all(permissions.can(by, what, environment=one.environment, service=one.service) for one in places(request))


def carry_out(request: ChangeRequest, *, by: Actor, because: str) -> int:
    """Do it; the revision that it made."""
    if request.kind == Kind.SEGMENT:
        segment = _segment(request)
        given = {name: request.document[name] for name in segments.FIELDS}
        segments.carry_out(segment, given, request=request, by=by, because=because)
        return segment.revision
    flag = flag_of(request)
    if request.kind == Kind.VARIANTS:
        flags.carry_out_variants(flag, request.document["variants"], request=request, by=by, because=because)
        return flag.revision
    assert request.environment is not None
    return flags.carry_out(
        flag, request.environment, request.document, request=request, by=by, because=because
    ).revision


# --- How ----------------------------------------------------------------------------------------
def _read_config(request: ChangeRequest, given: Mapping[str, Any], over: Document | None) -> Document:
    held = _config(request, flag_of(request))
    document, touched = flags.proposed(held, given, over)
    if touched:
        flag_writes.refuse_while_served(held)
    references.check_config(held.flag, held.environment, document)
    return document


def _read_variants(request: ChangeRequest, given: Mapping[str, Any], over: Document | None) -> Document:
    for name in given:
        if name != "variants":
            raise Invalid.of(str(name), "unknown field: without environment a change request is about the variants")
    if "variants" not in given:
        return dict(over or {"variants": flag_of(request).variants})
    return {"variants": flags.proposed_variants(flag_of(request), given["variants"])}


def _read_segment(request: ChangeRequest, given: Mapping[str, Any], over: Document | None) -> Document:
    unknown = sorted(set(given) - set(segments.FIELDS) - {"key", "revision"})
    if unknown:
        raise Invalid.of(unknown[0], "unknown field")
    kept = {name: value for name, value in (over or {}).items() if name in segments.FIELDS}
    return segments.proposed(_segment(request), {n: v for n, v in given.items() if n in segments.FIELDS}, kept)


_READERS = {Kind.CONFIG.value: _read_config, Kind.VARIANTS.value: _read_variants, Kind.SEGMENT.value: _read_segment}


def flag_of(request: ChangeRequest) -> Flag:
    """As it is now; Refused when it is archived."""
    assert request.flag_id is not None
    flag = Flag.objects.select_related("service").get(pk=request.flag_id)
    if flag.archived_at is not None:
        raise Refused(f"flag {flag} is archived")
    return flag


def _config(request: ChangeRequest, flag: Flag) -> FlagConfig:
    assert request.environment is not None
    return flag_writes.config_of(flag, request.environment)


def _segment(request: ChangeRequest) -> Segment:
    segment = Segment.objects.filter(key=request.segment).first()
    if segment is None:
        raise Refused(f"segment {request.segment} is gone")
    return segment
