"""The last two days of raw samples: the tide of a shop, its noise, and the dip of what went wrong."""

import random
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from math import erf, exp, log, sqrt

from django.conf import settings

from monitoring.actions import batches, samples, series
from monitoring.actions.samples import Row
from monitoring.actions.series import Wanted
from monitoring.histogram import Explicit
from monitoring.models import Metric, Series
from portal.demo import scene
from portal.management.demo.past_places import World
from portal.management.demo.story import Ending, Run, build_of, serving_now, weights_of

COARSE, FINE = timedelta(seconds=60), timedelta(seconds=10)
FINE_FOR = timedelta(minutes=40)
METRICS = (
    (scene.REQUESTS, "counter", "requests", "neither", "Requests that were answered, well or not", ""),
    (scene.ERRORS, "counter", "requests", "lower_is_better", "Requests that failed", ""),
    (scene.LATENCY, "histogram", "s", "lower_is_better", "How long requests took", "latency"),
)


@dataclass(slots=True)
class Line:
    """What one arm of one service counted, step by step."""

    labels: dict[str, str]
    times: list[datetime] = field(default_factory=list)
    requests: list[int] = field(default_factory=list)
    errors: list[int] = field(default_factory=list)
    medians: list[float] = field(default_factory=list)

    def growth(self, since: datetime, until: datetime) -> tuple[int, int]:
        """Requests and errors of the steps that ended in the window."""
        inside = [place for place, at in enumerate(self.times) if since < at <= until]
        return sum(self.requests[place] for place in inside), sum(self.errors[place] for place in inside)


Lines = dict[tuple[str, str], Line]


def draw(now: datetime, story: Sequence[Run]) -> Lines:
    """What was counted, as numbers: nothing is written yet."""
    dice = random.Random(48)
    lines: Lines = {}
    for service in scene.GOOD_DAYS:
        mine = [run for run in story if (run.service, run.environment) == (service, scene.ENVIRONMENT)]
        # Only the checkout tells its two builds apart.
        arms = scene.BUILDS if service == scene.SERVICE else ("",)
        for arm in arms:
            labels = {"service": service, "environment": scene.ENVIRONMENT}
            lines[service, arm] = Line(labels | ({"flag": build_of(service), "variant": arm} if arm else {}))
        for at, step in _steps(now):
            shares = _shares(mine, at)
            for arm in arms:
                _count(
                    lines[service, arm], at, step, shares.get(arm, 0.0) if arm else 1.0, _failing(mine, arm, at), dice
                )
    return lines


def write(world: World, lines: Lines) -> int:
    """Into the store, by the way that every sample takes. How many samples there are now."""
    for name, kind, unit, direction, description, signal in METRICS:
        fields = {"type": kind, "unit": unit, "direction": direction, "description": description, "signal": signal}
        metric = Metric.objects.create(name=name, created_at=world.began, **fields)
        world.chronicle.tell("metric.defined", metric, at=world.began, by=world.by("olga"), after=fields)
    stored = 0
    for line in lines.values():
        ids = _series(line.labels)
        stored += samples.store(list(_rows(line, ids))).accepted
        Series.objects.filter(pk__in=ids.values()).update(last_time=line.times[-1], created_at=line.times[0])
    return stored


def _steps(now: datetime) -> Iterator[tuple[datetime, timedelta]]:
    """The ends of the steps, and how long each is; finer where a chart of the last minutes looks."""
    kept = timedelta(hours=settings.PORTAL_RAW_RETENTION_HOURS)
    at = now - kept + timedelta(minutes=10)
    while at < now - FINE_FOR:
        at += COARSE
        yield at, COARSE
    while at < now - FINE:
        at += FINE
        yield at, FINE


def _count(line: Line, at: datetime, step: timedelta, share: float, failing: float, dice: random.Random) -> None:
    a_second, usual, median = scene.GOOD_DAYS[line.labels["service"]]
    expected = a_second * scene.tide(at) * share * step.total_seconds() * dice.gauss(1, 0.03)
    requests = max(0, round(expected))
    errors = _some(requests, max(usual, failing) * dice.lognormvariate(0, 0.12), dice)
    line.times.append(at)
    line.requests.append(requests)
    line.errors.append(errors)
    # Failing requests wait for something before they fail.
    line.medians.append(median * dice.lognormvariate(0, 0.03) * (1 + 2.5 * failing))


def _some(of: int, share: float, dice: random.Random) -> int:
    expected = of * min(share, 1.0)
    return min(of, max(0, round(dice.gauss(expected, sqrt(expected)))))


def _shares(runs: Iterable[Run], at: datetime) -> dict[str, float]:
    """Which share of the users each build serves at that moment."""
    begun = [run for run in runs if run.started_at <= at]
    if not begun:
        return {serving_now(begun, "", ""): 1.0}
    last = begun[-1]
    if at >= last.ended_at and last.ending == Ending.ROLLED_BACK:
        return {last.baseline: 1.0}
    stage = sum(1 for entered in last.entered if entered <= at) - 1
    share = weights_of(last.plan)[stage][0] / 100_000
    return {last.build: share, last.baseline: 1 - share}


def _failing(runs: Iterable[Run], arm: str, at: datetime) -> float:
    """The share of requests that a fault makes fail: nothing at first, then ever more."""
    for run in runs:
        if run.fault is None or (arm and arm != run.build):
            continue
        began = run.entered[-1] + run.fault.began
        if began <= at <= run.ended_at:
            return run.fault.peak * min(1.0, (at - began) / run.fault.seen)
    return 0.0


def _series(labels: dict[str, str]) -> dict[str, int]:
    """The three series of an arm, made as ingest makes them."""
    wanted: dict[series.Key, Wanted] = {
        (name, tuple(labels.items()), None): Wanted(name, labels, kind == "histogram") for name, kind, *_ in METRICS
    }
    series.resolve(wanted)
    found = {}
    for (name, _, _), one in wanted.items():
        assert isinstance(one.found, series.Known), one.found
        found[name] = one.found.id
    return found


def _rows(line: Line, ids: dict[str, int]) -> Iterator[Row]:
    requests = errors = 0
    for place, at in enumerate(line.times):
        requests += line.requests[place]
        errors += line.errors[place]
        yield ids[scene.REQUESTS], at, float(requests), None
        yield ids[scene.ERRORS], at, float(errors), None
        if line.requests[place]:
            spread = _spread(line.medians[place], line.requests[place])
            yield ids[scene.LATENCY], at, batches.mean_of(spread), spread.to_json()


def _spread(median: float, count: int) -> Explicit:
    """So many requests, as a log-normal distribution has them fall into the buckets."""
    upto = [
        round(count * (1 + erf(log(bound / median) / (scene.SPREAD * sqrt(2)))) / 2) for bound in scene.LATENCY_BOUNDS
    ]
    counts = tuple(here - before for before, here in pairwise((0, *upto, count)))
    return Explicit(scene.LATENCY_BOUNDS, counts, round(median * exp(scene.SPREAD**2 / 2) * count, 6))


def p95(line: Line, at: datetime) -> float:
    """What a gate would have read then."""
    place = max(bisect_left(line.times, at) - 1, 0)
    return line.medians[place] * exp(1.645 * scene.SPREAD)
