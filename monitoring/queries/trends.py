"""The trends of many metrics at once, from their rollups."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from monitoring.queries import histories
from monitoring.queries.histories import Points, Subject
from monitoring.trends import RELEVANT, Effect, Trend, trend


@dataclass(frozen=True, slots=True)
class Seen:
    """How one metric went."""

    subject: Subject
    aggregation: str
    points: Points
    trend: Trend

    @property
    def effect(self) -> Effect:
        return self.trend.effect(self.subject.direction)

    @property
    def slope(self) -> float | None:
        return self.trend.line.slope if self.trend.line else None

    @property
    def p(self) -> float | None:
        return self.trend.test.p if self.trend.test else None

    @property
    def effective(self) -> float | None:
        return self.trend.test.effective if self.trend.test else None


def seen(
    subjects: Sequence[Subject],
    *,
    window: timedelta,
    step: timedelta,
    now: datetime,
    aggregation: str = "",
    relevant: float = RELEVANT,
) -> list[Seen]:
    """The trend of each, in the order given."""
    values = histories.of_subjects(subjects, window=window, step=step, now=now, aggregation=aggregation)
    return [
        Seen(
            one,
            aggregation or histories.USUALLY[one.type],
            points,
            trend(points, window=window, step=step, relevant=relevant),
        )
        for one, points in zip(subjects, values, strict=True)
    ]
