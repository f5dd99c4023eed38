"""What an edit would do, before it is saved: contexts that were seen of late, decided as it is and as it would be."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from portal import permissions
from portal.audit import Actor
from portal.errors import Refused
from portal.models import Environment
from rollouts import snapshots
from rollouts.actions import change_subjects, references, segments
from rollouts.actions import flags as flag_actions
from rollouts.actions.flag_writes import config_of
from rollouts.engine.replay import Impact, Replay, replay
from rollouts.engine.types import SegmentSource
from rollouts.models import ChangeRequest, Flag, FlagConfig, Segment
from rollouts.queries import contexts, uses

MOST_DECISIONS = 100_000  # of all flags together: a preview is waited for
FEWEST_CONTEXTS = 100
MOST_MOVES_TOLD = 4


@dataclass(frozen=True, slots=True)
class Preview:
    """What it would do in one environment."""

    environment: Environment
    subject: str  # the flag that is edited; empty for a segment
    replay: Replay

    @property
    def words(self) -> str:
        sampled, changed = self.replay.sampled, self.replay.changed
        if not sampled:
            return "no contexts seen yet"
        if not changed:
            return f"none of the last {sampled} contexts would get something else"
        told = [
            f"{move.before} → {move.after} {move.count}"
            for one in self.replay.impacts
            if one.flag == self.subject or not self.subject
            for move in one.moves
        ]
        shown = ", ".join(told[:MOST_MOVES_TOLD])
        if len(told) > MOST_MOVES_TOLD:
            shown += f" and {len(told) - MOST_MOVES_TOLD} more"
        return f"{changed} of the last {sampled} contexts change" + (f": {shown}" if shown else "")

    @property
    def percent(self) -> float | None:
        return self.share(self.own.changed if self.own else self.replay.changed)

    @property
    def moved(self) -> list[Impact]:
        return [one for one in self.replay.impacts if one.changed]

    @property
    def own(self) -> Impact | None:
        return next((one for one in self.replay.impacts if one.flag == self.subject), None)

    @property
    def others(self) -> list[Impact]:
        return [one for one in self.replay.impacts if one.flag != self.subject]

    def share(self, count: int) -> float | None:
        """In percent of the contexts; None when none was seen: that is no share of 0."""
        return round(count * 100 / self.replay.sampled, 3) if self.replay.sampled else None


def of_config(flag: Flag, environment: Environment, given: Mapping[str, Any]) -> Preview:
    """Of an edit as `flags.configure` takes it; Invalid names what is wrong with it."""
    held = config_of(flag, environment)
    document, _ = flag_actions.proposed(held, given)
    references.check_config(flag, environment, document)
    return _of_flag(flag, environment, snapshots.Edit(configs={flag.key: document}))


def of_segment(segment: Segment, given: Mapping[str, Any] | None, *, by: Actor) -> list[Preview]:
    """Of an edit as `segments.change` takes it (None: were it deleted), in each environment that it reaches."""
    source = None
    if given is not None:
        document = segments.proposed(segment, given)
        source = SegmentSource(segment.key, document["conditions"], document["included"], document["excluded"])
    return _of_segment(segment.key, source, by)


def of_request(request: ChangeRequest, *, by: Actor) -> list[Preview]:
    """Of a change request, on what is there now."""
    if not request.pending:
        raise Refused(f"change request {request.pk} is {request.status}: it changes nothing any longer")
    if request.kind == ChangeRequest.Kind.SEGMENT:
        document = request.document
        source = SegmentSource(request.segment, document["conditions"], document["included"], document["excluded"])
        return _of_segment(request.segment, source, by)
    flag = change_subjects.flag_of(request)
    if request.environment is not None:
        return [_of_flag(flag, request.environment, snapshots.Edit(configs={flag.key: request.document}))]
    edit = snapshots.Edit(variants={flag.key: request.document["variants"]})
    configs = FlagConfig.objects.filter(flag=flag).select_related("environment").order_by("environment__rank")
    seen = permissions.visible(by, configs, environment="environment", service=None)
    return [_of_flag(flag, config.environment, edit) for config in seen]


def _of_flag(flag: Flag, environment: Environment, edit: snapshots.Edit) -> Preview:
    others = sorted(uses.dependents([flag.key], environment.pk))
    return Preview(environment, flag.key, _replayed(environment, [flag.key, *others], edit))


def _of_segment(key: str, source: SegmentSource | None, by: Actor) -> list[Preview]:
    reached: dict[Environment, set[str]] = {}
    ids = [config.pk for config in uses.configs_through(key)]
    configs = FlagConfig.objects.filter(pk__in=ids).select_related("flag", "environment").order_by("environment__rank")
    for config in permissions.visible(by, configs, environment="environment", service="flag__service"):
        reached.setdefault(config.environment, set()).add(config.flag.key)
    edit = snapshots.Edit(segments={key: source})
    return [
        Preview(place, "", _replayed(place, sorted(keys | uses.dependents(keys, place.pk)), edit))
        for place, keys in reached.items()
    ]


def _replayed(environment: Environment, keys: Sequence[str], edit: snapshots.Edit) -> Replay:
    most = max(FEWEST_CONTEXTS, min(contexts.MOST, MOST_DECISIONS // len(keys)))
    seen = contexts.recent(environment, most)
    before, after = snapshots.fresh(environment, *keys), snapshots.fresh(environment, *keys, edit=edit)
    return replay(before, after, keys, seen, now=time.time())
