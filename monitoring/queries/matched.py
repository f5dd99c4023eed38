"""The series that questions are about: of any number of questions in one query."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
