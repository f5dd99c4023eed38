"""What flags and segments refer to: that it is there, that nothing leads back to itself, and who would miss it."""

from collections.abc import Iterable, Mapping
from typing import Any

from portal.errors import Invalid, Refused
from portal.models import Environment
from rollouts.engine.conditions import compile_segments, segments_in
from rollouts.engine.cycles import cycles
from rollouts.engine.types import SegmentSource
from rollouts.models import Flag, FlagConfig, Segment
from rollouts.queries import uses


# --- What a config names ------------------------------------------------------------------------
def check_config(flag: Flag, environment: Environment, document: Mapping[str, Any]) -> None:
    """Every segment and flag that the config names is there, and no prerequisite leads back."""
    faults = _missing_segments(document["rules"])
    if document["prerequisites"]:
        faults |= _prerequisites(flag, environment, document["prerequisites"])
    if faults:
        raise Invalid(faults)


def missing_segments(keys: Iterable[str]) -> set[str]:
    wanted = set(keys)
    return wanted - set(Segment.objects.filter(key__in=wanted).values_list("key", flat=True)) if wanted else set()


def _missing_segments(rules: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    named: dict[str, str] = {}
    for n, rule in enumerate(rules):
        for k, key in enumerate(rule.get("segments", ())):
            named[f"rules[{n}].segments[{k}]"] = key
        for k, condition in enumerate(rule.get("all", ())):
            for key in segments_in([condition]):
                named[f"rules[{n}].all[{k}].values"] = key
    missing = missing_segments(named.values())
    return {path: f"there is no segment {key}" for path, key in named.items() if key in missing}


def _prerequisites(flag: Flag, environment: Environment, needs: list[dict[str, Any]]) -> dict[str, str]:
    faults: dict[str, str] = {}
    there = {one.key: one for one in Flag.objects.live().filter(key__in=[need["flag"] for need in needs])}
    for n, need in enumerate(needs):
        path = f"prerequisites[{n}]"
        other = there.get(need["flag"])
        if other is None:
            faults[f"{path}.flag"] = f"there is no flag {need['flag']}"
            continue
        for k, variant in enumerate(need["variants"]):
            if variant not in other.variant_keys():
                faults[f"{path}.variants[{k}]"] = f"flag {other} has no variant {variant}"
    rows = FlagConfig.objects.filter(environment=environment, flag__archived_at=None).exclude(prerequisites=[])
    edges = {key: [one["flag"] for one in wanted] for key, wanted in rows.values_list("flag__key", "prerequisites")}
    edges[flag.key] = [need["flag"] for need in needs]
    guilty = cycles(edges)
    for n, need in enumerate(needs):
        if flag.key in guilty and (need["flag"] in guilty):
            faults.setdefault(f"prerequisites[{n}].flag", f"leads back to {flag.key}: {guilty[flag.key]}")
    return faults


# --- What a segment names -----------------------------------------------------------------------
def check_segment(source: SegmentSource) -> None:
    """The segments that it refers to are there, and it neither leads back to itself nor nests too deep."""
    rows = Segment.objects.values_list("key", "conditions", "included", "excluded")
    held = {row[0]: SegmentSource(*row) for row in rows}
    for n, condition in enumerate(source.conditions):
        for key in segments_in([condition]):
            if key not in held and key != source.key:
                raise Invalid.of(f"conditions[{n}].values", f"there is no segment {key}")
    was = compile_segments(held)
    now = compile_segments(held | {source.key: source})
    for key, segment in now.items():
        if segment.broken and not (key in was and was[key].broken):
            raise Invalid.of("conditions", segment.broken)


# --- Who uses it --------------------------------------------------------------------------------
def refuse_if_segment_used(key: str) -> None:
    users = [f"flag {one}" for one in uses.configs_with_segment(key)]
    users += [f"segment {one}" for one in uses.segments_with_segment(key)]
    if users:
        raise Refused(f"segment {key} is used by {_listed(users)}")


def refuse_if_variants_used(flag: Flag, gone: set[str]) -> None:
    """Some config of this flag serves one of these variants, or another flag waits for it."""
    users = []
    for config in flag.configs.select_related("environment"):
        config.flag = flag
        used = gone & config.variants_used()
        users += [f"{variant} by {config}" for variant in sorted(used)]
    for config in uses.needing(flag.key):
        for need in config.prerequisites:
            if need["flag"] == flag.key:
                users += [f"{variant} by {config}" for variant in sorted(gone & set(need["variants"]))]
    if users:
        raise Refused(f"variants of flag {flag} are used: {_listed(users)}")


def refuse_if_needed(flag: Flag) -> None:
    users = [str(config) for config in uses.needing(flag.key)]
    if users:
        raise Refused(f"flag {flag} is a prerequisite of {_listed(users)}")


def refuse_if_dangling(flag: Flag) -> None:
    """What the flag's configs refer to has gone while it was archived."""
    missing = []
    for config in flag.configs.select_related("environment"):
        try:
            check_config(flag, config.environment, config.document())
        except Invalid as invalid:
            missing += [f"{path} in {config.environment}: {words}" for path, words in invalid.errors.items()]
    if missing:
        raise Refused(f"flag {flag} refers to what is gone: {_listed(missing)}")


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"
