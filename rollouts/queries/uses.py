"""Who uses a flag or a segment, and would notice a change of it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Q, QuerySet

from portal import permissions
from portal.audit import Actor
from rollouts.engine.conditions import segments_in
from rollouts.models import ChangeRequest, DeploymentFlag, Flag, FlagConfig, Segment


@dataclass(frozen=True, slots=True)
class SegmentUses:
    """Whom a segment reaches."""

    configs: list[FlagConfig]
    through: list[FlagConfig]  # by way of other segments
    segments: list[Segment]
    requests: list[ChangeRequest]

    def __bool__(self) -> bool:
        return bool(self.configs or self.through or self.segments or self.requests)


@dataclass(frozen=True, slots=True)
class FlagUses:
    """What depends on a flag, and what it depends on."""

    needed_by: list[FlagConfig]
    needs: list[tuple[FlagConfig, str]]  # the config, and the flag that it has as a prerequisite
    segments: list[tuple[FlagConfig, str]]
    deployments: list[DeploymentFlag]
    requests: list[ChangeRequest] = field(default_factory=list)


# --- For pages and doors: what somebody may see --------------------------------------------------
def of_segment(key: str, by: Actor) -> SegmentUses:
    direct = list(_visible(by, configs_with_segment(key)))
    seen = {config.pk for config in direct}
    reached = _visible(by, FlagConfig.objects.filter(pk__in=[one.pk for one in configs_through(key)]))
    requests = ChangeRequest.objects.pending().filter(segment=key)
    return SegmentUses(
        configs=direct,
        through=[one for one in reached.select_related("flag", "environment") if one.pk not in seen],
        segments=list(segments_with_segment(key)),
        requests=list(requests_seen(by, requests)),
    )


def of_flag(flag: Flag, by: Actor) -> FlagUses:
    own = list(_visible(by, flag.configs.select_related("flag", "environment")))
    served = DeploymentFlag.objects.filter(flag=flag).filter(_not_over()).order_by("-deployment_id")
    served = permissions.visible(by, served, environment="environment", service="deployment__service")
    return FlagUses(
        needed_by=list(_visible(by, needing(flag.key))),
        needs=[(config, one["flag"]) for config in own for one in config.prerequisites],
        segments=[(config, key) for config in own for key in sorted(_segments_of(config))],
        deployments=list(served.select_related("deployment__release__service", "environment")),
        requests=list(requests_seen(by, flag.change_requests.pending())),
    )


def requests_seen(by: Actor, rows: "QuerySet[ChangeRequest]") -> "QuerySet[ChangeRequest]":
    rows = rows.select_related("flag__service", "environment")
    return permissions.visible(by, rows, environment="environment", service="flag__service")


def _visible(by: Actor, rows: "QuerySet[FlagConfig]") -> "QuerySet[FlagConfig]":
    return permissions.visible(by, rows, environment="environment", service="flag__service")


def _not_over() -> Q:
    return Q(live=True) | Q(deployment__status__in=("draft", "awaiting_approval", "scheduled"))


def _segments_of(config: FlagConfig) -> set[str]:
    rules = [*config.reserved, *config.rules]
    named = {key for rule in rules for key in rule.get("segments", ())}
    return named.union(*(segments_in(rule.get("all", ())) for rule in rules))


# --- For rules: everything, whoever asks ---------------------------------------------------------
def configs_with_segment(key: str) -> Any:
    """The configs of living flags whose rules name the segment."""
    by_name, by_condition = [{"segments": [key]}], [{"all": [{"op": "segment", "values": [key]}]}]
    named = Q(rules__contains=by_name) | Q(rules__contains=by_condition)
    reserved = Q(reserved__contains=by_name) | Q(reserved__contains=by_condition)
    return FlagConfig.objects.filter(named | reserved, flag__archived_at=None).select_related(
        "flag__service", "environment"
    )


def segments_with_segment(key: str) -> Any:
    return Segment.objects.filter(conditions__contains=[{"op": "segment", "values": [key]}])


def configs_through(key: str) -> list[FlagConfig]:
    """The configs that a segment reaches, also by way of other segments."""
    found: dict[int, FlagConfig] = {}
    for one in segments_through(key):
        found |= {config.pk: config for config in configs_with_segment(one)}
    return list(found.values())


def segments_through(key: str) -> set[str]:
    """The segment, and all that refer to it, at whatever depth."""
    seen, waiting = {key}, [key]
    while waiting:
        for user in segments_with_segment(waiting.pop()).values_list("key", flat=True):
            if user not in seen:
                seen.add(user)
                waiting.append(user)
    return seen


def needing(key: str) -> Any:
    """The configs of living flags that have this flag as a prerequisite."""
    return FlagConfig.objects.filter(prerequisites__contains=[{"flag": key}], flag__archived_at=None).select_related(
        "flag", "environment"
    )


def dependents(keys: Iterable[str], environment_id: int) -> set[str]:
    """The flags that wait for these in an environment, at whatever depth; without these themselves."""
    rows = FlagConfig.objects.filter(environment=environment_id, flag__archived_at=None).exclude(prerequisites=[])
    needs = {key: {one["flag"] for one in wanted} for key, wanted in rows.values_list("flag__key", "prerequisites")}
    asked = set(keys)
    found: set[str] = set()
    waiting = set(asked)
    while waiting:
        waiting = {key for key, wanted in needs.items() if wanted & waiting} - found - asked
        found |= waiting
    return found
