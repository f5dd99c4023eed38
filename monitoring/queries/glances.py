"""The thresholds that nothing has happened to: nearly all of them, told from the others without being fetched."""

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import connection

from monitoring.judging import Condition, at_rest
from monitoring.models import Threshold
from monitoring.queries.matched import Memory
from monitoring.queries.measurements import condition_of, window_of
from monitoring.queries.statements import array
from monitoring.queries.windows import Prepared, pooled, prepare
from portal.verdicts import Outcome

REMEMBERED = 50_000  # thresholds, and questions that they ask
# Those whose state is not what this look would leave them in.
MOVED = """
SELECT k.id FROM unnest(%s::bigint[], %s::int[], %s::text[]) AS k(id, version, outcome)
LEFT JOIN monitoring_alertstate s ON s.threshold_id = k.id AND s.group = '' AND s.phase = 'inactive'
    AND s.outcome = k.outcome AND s.threshold_version = k.version
WHERE s.id IS NULL"""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A threshold that is to be judged, as its claim told."""

    id: int
    version: int
    interval: int


@dataclass(slots=True, eq=False)
class _Known:
    """What a glance needs of a threshold, as of one version of it."""

    version: int
    condition: Condition
    asked: Prepared


class Glances:
    """What one judge remembers of the thresholds that were at rest when it looked at them properly."""

    def __init__(self) -> None:
        self.series = Memory(REMEMBERED)
        self._known: dict[int, _Known] = {}
        self._lock = threading.Lock()

    def forget(self) -> None:
        self._known = {}
        self.series.forget()

    def remember(self, thresholds: Iterable[Threshold]) -> None:
        """These were left at rest: next time a glance may do."""
        with self._lock:
            if len(self._known) > REMEMBERED:
                self._known = {}
            for one in thresholds:
                if not (one.members or one.slo_id or one.baseline_kind):
                    self._known[one.pk] = _Known(one.version, condition_of(one, "", {}), prepare(window_of(one)))

    def left(self, claimed: Sequence[Claimed], *, now: datetime) -> list[int]:
        """Those that must be looked at properly: the others stay exactly as they are."""
        known = {one.id: found for one in claimed if (found := self._of(one)) is not None}
        left = [one.id for one in claimed if one.id not in known]
        if not known:
            return left
        resting: dict[int, Outcome] = {}
        answers = pooled([one.asked for one in known.values()], now=now, memory=self.series)
        for (pk, one), answer in zip(known.items(), answers, strict=True):
            outcome = at_rest(one.condition, answer.value, int(answer.count))
            if outcome is None:
                left.append(pk)
            else:
                resting[pk] = outcome
        # Asked after the samples were read: what another judge has made of them meanwhile is seen.
        left += self._moved(known, resting)
        with self._lock:
            for pk in left:
                self._known.pop(pk, None)
        return left

    def _of(self, one: Claimed) -> _Known | None:
        found = self._known.get(one.id)
        return found if found is not None and found.version == one.version else None

    def _moved(self, known: Mapping[int, _Known], resting: Mapping[int, Outcome]) -> list[int]:
        if not resting:
            return []
        versions = [known[pk].version for pk in resting]
        with connection.cursor() as cursor:
            cursor.execute(MOVED, [array(resting), array(versions), array(resting.values())])
            return [pk for (pk,) in cursor.fetchall()]
