"""What a flag was at a time gone by, compiled anew from its revisions."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from portal.models import Environment
from rollouts.engine.compile import assemble, compile_or_break, default_off_variant
from rollouts.engine.conditions import compile_segments
from rollouts.engine.types import Flag as CompiledFlag
from rollouts.engine.types import FlagSource, SegmentSource, Snapshot
from rollouts.models import Flag, FlagRevision, Segment, SegmentRevision
from rollouts.snapshots import CONFIG_FIELDS, segment_sources


def snapshot(environment: Environment, key: str, at: datetime, *, revision: int | None = None) -> Snapshot:
    """The flag as it was at that time (or in that revision), with the flags and segments that it needs."""
    segments = compile_segments(_segments(at))
    flags: dict[str, CompiledFlag] = {}
    wanted = {key}
    while wanted:
        found = {}
        for flag in Flag.objects.filter(key__in=wanted).select_related("service"):
            source = _source(flag, environment, at, revision if flag.key == key else None)
            if source is not None:
                found[flag.key] = compile_or_break(source, segments)
        flags |= found
        wanted = {one.flag for flag in found.values() for one in flag.prerequisites} - flags.keys() - wanted
    return assemble(environment.key, 0, flags)


def _segments(at: datetime) -> dict[str, SegmentSource]:
    """As they were; one that was last written before revisions were kept is as it is."""
    found = {one.key: one for one in segment_sources(Segment.objects.all())}
    revised = SegmentRevision.objects.filter(at__lte=at).order_by("segment", "-number").distinct("segment")
    for key, document in revised.values_list("segment", "document"):
        if document is None:
            found.pop(key, None)
        else:
            found[key] = SegmentSource(key, document["conditions"], document["included"], document["excluded"])
    return found


def _source(flag: Flag, environment: Environment, at: datetime, revision: int | None) -> FlagSource | None:
    rows = FlagRevision.objects.filter(flag=flag).order_by("-number")
    definition = rows.filter(environment=None, at__lte=at).first()
    if definition is None or definition.document.get("archived"):
        return None
    configs = rows.filter(environment=environment)
    config = (configs.filter(at__lte=at) if revision is None else configs.filter(number=revision)).first()
    variants = definition.document["variants"]
    given: Mapping[str, Any] = (
        {name: config.document[name] for name in CONFIG_FIELDS if name in config.document} if (config) else {}
    )
    return FlagSource(
        key=flag.key,
        salt=flag.salt,
        value_type=flag.value_type,
        variants=variants,
        environment=environment.key,
        service=flag.service.key if flag.service else None,
        **{"off_variant": default_off_variant(variants), **given, "revision": config.number if config else 0},
    )
