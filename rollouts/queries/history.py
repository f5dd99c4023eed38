"""How things were at any time, rebuilt from the log of their writes alone."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import QuerySet

from portal.models import Environment
from rollouts.engine.compile import default_off_variant
from rollouts.engine.documents import EDITABLE
from rollouts.engine.revisions import rebuilt
from rollouts.models import Flag, FlagRevision, SegmentRevision

CONFIG_FIELDS = (*EDITABLE, "reserved")


@dataclass(frozen=True, slots=True)
class State:
    """A document as it was, and the write that had made it so (revision 0: none had)."""

    document: dict[str, Any]
    revision: int
    since: datetime | None


def definition_at(flag: Flag, at: datetime) -> State | None:
    """What the flag was; None before it was made."""
    return _at(FlagRevision.objects.filter(flag=flag, environment=None), at)


def config_at(flag: Flag, environment: Environment, at: datetime) -> State | None:
    """What the flag did in an environment; None before it was made."""
    definition = definition_at(flag, at)
    if definition is None:
        return None
    found = _at(FlagRevision.objects.filter(flag=flag, environment=environment), at)
    if found is not None:
        return State({**dict.fromkeys(CONFIG_FIELDS), **found.document}, found.revision, found.since)
    off = default_off_variant(definition.document["variants"])
    nothing: dict[str, Any] = {"enabled": False, "off_variant": off, "rules": [], "fallthrough": {"variant": off}}
    nothing |= {"overrides": {}, "prerequisites": [], "window": None, "reserved": []}
    return State(nothing, 0, None)


def segment_at(key: str, at: datetime) -> State | None:
    """Who belonged to a segment; None while there was none."""
    found = _at(SegmentRevision.objects.filter(segment=key), at)
    return found if found is not None and found.document.get("key") is not None else None


def _at(rows: "QuerySet[Any]", at: datetime) -> State | None:
    """The writes up to that moment, one upon the other."""
    writes = list(rows.filter(at__lte=at).order_by("number").values_list("number", "at", "diff"))
    if not writes:
        return None
    number, since, _ = writes[-1]
    return State(rebuilt(diff for _, _, diff in writes), number, since)
