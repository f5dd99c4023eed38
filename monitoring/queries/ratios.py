"""What shares of counters came to over long stretches: of many in a fixed number of queries."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from monitoring.histogram import bounded, summed
from monitoring.models import Threshold
from monitoring.queries import matched, rollups
from monitoring.queries.matched import Asked


@dataclass(frozen=True, slots=True)
class Ratio:
    """The growth of one counter by that of another. `upward`: more of it is worse."""

    name: str
    metric: str
    denominator: str
    matchers: tuple[tuple[str, str], ...]
    upward: bool


def distinct(thresholds: Iterable[Threshold]) -> list[Ratio]:
    """Those that thresholds judge, each once, in the order of their names."""
    found: dict[tuple[str, str, tuple[tuple[str, str], ...]], Ratio] = {}
    for one in thresholds:
        labels = tuple(sorted(one.matchers.items()))
        place = one.service.key if one.service else one.metric
        name = f"{place} in {one.environment}" if one.environment else place
        ratio = Ratio(name, one.metric, one.denominator, labels, one.operator.startswith(">"))
        found.setdefault((one.metric, one.denominator, labels), ratio)
    return sorted(found.values(), key=lambda one: (one.name, one.metric))


def over(asked: Sequence[Ratio], *, since: datetime, until: datetime, now: datetime) -> dict[Ratio, float]:
    """Each over [since, until); one of which nothing is known, or whose denominator did not grow, is left out."""
    wanted = [Asked((one, name), name, dict(one.matchers)) for one in asked for name in (one.metric, one.denominator)]
    series = matched.series(wanted)
    ids = {id_ for some in series.values() for id_ in some}
    whole = rollups.whole(ids, since=since, until=min(until, now), now=now) if ids else {}

    def grown(ratio: Ratio, metric: str) -> float | None:
        some = [whole[id_].increase for id_ in series.get((ratio, metric), ()) if id_ in whole]
        known = [value for value in some if value is not None]
        return summed(known) if known else None

    found = {}
    for one in asked:
        above, below = grown(one, one.metric), grown(one, one.denominator)
        if above is not None and below:
            found[one] = bounded(above / below)
    return found
