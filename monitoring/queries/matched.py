"""The series that questions are about: of any number of questions in one query."""

import threading
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from django.db import connection

from monitoring.queries import statements

SERIES = f"""
WITH asked AS MATERIALIZED (
    SELECT a.n, a.matchers || jsonb_build_object('__metric__', m.id) AS probe
    FROM jsonb_to_recordset(%(asked)s::jsonb) AS a(n int, metric text, matchers jsonb)
    JOIN monitoring_metric m ON m.name = a.metric
)
SELECT a.n, s.id FROM asked a JOIN monitoring_series s ON {statements.LABELS} @> a.probe"""


@dataclass(frozen=True, slots=True)
class Asked:
    """Which series of this metric carry these labels? `name` is how the answer is found again."""

    name: Any
    metric: str
    matchers: Mapping[str, str]


def series(asked: Sequence[Asked]) -> dict[Any, list[int]]:
    """The ids of each question's series; of one that matches none there is no entry."""
    found: dict[Any, list[int]] = defaultdict(list)
    if not asked:
        return found
    rows = [{"n": n, "metric": one.metric, "matchers": dict(one.matchers)} for n, one in enumerate(asked)]
    with connection.cursor() as cursor:
        cursor.execute(SERIES, {"asked": orjson.dumps(rows).decode()})
        for n, id_ in cursor.fetchall():
            found[asked[n].name].append(id_)
    return found


# The newest series of each metric. Ids of one metric become visible in their order: its series are made one maker
# at a time (actions.series), so whatever is below the newest that was seen has been seen, or will never be there.
NEWEST = """
SELECT m.name, m.id, (SELECT max(s.id) FROM monitoring_series s WHERE s.metric_id = m.id)
FROM monitoring_metric m WHERE m.name = ANY(%s)"""
NEWER = """
SELECT s.metric_id, s.id, s.labels FROM unnest(%s::bigint[], %s::bigint[]) AS k(metric, seen)
JOIN monitoring_series s ON s.metric_id = k.metric AND s.id > k.seen"""

Question = tuple[str, bytes]  # a metric's name; matchers as JSON with its keys sorted


@dataclass(slots=True, eq=False)
class _Metric:
    """What is remembered of the series of one metric."""

    id: int
    seen: int  # the newest series that the questions have been held against
    answers: dict[bytes, set[int]] = field(default_factory=dict)
    # The questions by one of their matchers: a new series is held against those that name one of its labels.
    by_label: dict[tuple[str, str], list[bytes]] = field(default_factory=lambda: defaultdict(list))
    of_all: list[bytes] = field(default_factory=list)

    def put(self, matchers: bytes, ids: Iterable[int]) -> None:
        self.answers[matchers] = set(ids)
        wanted = orjson.loads(matchers)
        if wanted:
            # The longest: what many questions share (environment, service) is short.
            self.by_label[max(wanted.items(), key=lambda one: len(one[1]))].append(matchers)
        else:
            self.of_all.append(matchers)

    def meet(self, id_: int, labels: Mapping[str, str]) -> None:
        self.seen = max(self.seen, id_)
        own = labels.items()
        for matchers in (*self.of_all, *(one for label in own for one in self.by_label.get(label, ()))):
            if own >= orjson.loads(matchers).items():
                self.answers[matchers].add(id_)


class Memory:
    """Which series questions are about, for who asks the same ones each second: only new series are looked at.

    A series that was deleted stays in an answer, so whoever uses the ids asks for those that are still there.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._metrics: dict[str, _Metric] = {}
        self._asked = 0
        self._lock = threading.Lock()

    def forget(self) -> None:
        with self._lock:
            self._metrics, self._asked = {}, 0

    def series(self, metric: str, matchers: bytes) -> Collection[int]:
        """The ids, as of the last refresh."""
        known = self._metrics.get(metric)
        return known.answers.get(matchers, ()) if known else ()

    def refresh(self, asked: Iterable[Question]) -> None:
        """Have the answers to these questions as they are now: in two or three queries, however many there are."""
        with self._lock:
            if self._asked > self.size:
                self._metrics, self._asked = {}, 0
            wanted = set(asked)
            self._meet_newer({name for name, _ in wanted})
            fresh = [
                Asked((name, matchers), name, orjson.loads(matchers))
                for name, matchers in wanted
                if name in self._metrics and matchers not in self._metrics[name].answers
            ]
            found = series(fresh)
            for one in fresh:
                name, matchers = one.name
                self._metrics[name].put(matchers, found.get(one.name, ()))
            self._asked += len(fresh)

    def _meet_newer(self, names: set[str]) -> None:
        grown: dict[int, _Metric] = {}
        with connection.cursor() as cursor:
            cursor.execute(NEWEST, [sorted(names)])
            there = {name: (id_, newest or 0) for name, id_, newest in cursor.fetchall()}
            for name in names - there.keys():
                self._metrics.pop(name, None)
            for name, (id_, newest) in there.items():
                known = self._metrics.get(name)
                if known is None or known.id != id_:
                    self._metrics[name] = _Metric(id_, newest)
                elif newest > known.seen:
                    grown[id_] = known
            if grown:
                cursor.execute(NEWER, [list(grown), [one.seen for one in grown.values()]])
                for metric, id_, labels in cursor.fetchall():
                    grown[metric].meet(id_, orjson.loads(labels))
