"""What a metric will be, with an interval, and when it reaches a limit.

Three methods, of which the one that erred least over the last stretches of the history is taken: a season (the median
of each hour of the week or the day) on a robust line (Theil and Sen), the line alone, and a damped trend by exponential
smoothing (Gardner and McKenzie 1985), whose variance is that of its state space model (Hyndman, Koehler, Ord, Snyder
2008, table 6.1). The interval comes of what is left beside the model, grows with the uncertainty of the slope, and is
widened by the share by which it was too narrow over those last stretches. There is no randomness: the same history
makes the same forecast.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import product
from statistics import NormalDist

import numpy as np

from monitoring.histogram import summed
from monitoring.trends import HUGE, LEAST, Array, arrays, correction, judge, season_of

CONFIDENCE = 0.9
COVERED = 0.5  # share of the history's steps that must be known
MOST = 700  # values
MOST_STEPS = 2500  # ahead
# Nobody knows what will be in more than so many times the history.
FARTHEST = 3.0
STRETCHES = 4  # of the history's end, over which methods are compared
WIDEST = 5.0  # times an interval may be widened
SEASONAL = "season and robust line"
LINEAR = "robust line (Theil-Sen)"
DAMPED = "damped trend (Holt)"


@dataclass(frozen=True, slots=True)
class Expected:
    """What is expected of the step that begins at this time; the interval's bounds beside it."""

    at: datetime
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Forecast:
    """Without steps nothing can be said, and `reason` says why.

    error: the mean absolute error over the last stretches of the history, each forecast from what was before it.
    """

    method: str
    reason: str
    steps: tuple[Expected, ...] = ()
    count: int = 0
    error: float | None = None
    confidence: float = CONFIDENCE

    @property
    def known(self) -> bool:
        return bool(self.steps)


@dataclass(frozen=True, slots=True)
class Reach:
    """When a level is reached: by the forecast, and by the bounds of its interval. None: not within the horizon."""

    level: float
    at: datetime | None
    earliest: datetime | None
    latest: datetime | None
    now: bool = False  # it is already

    def words(self, what: str, until: datetime) -> str:
        if self.now:
            return f"{what} is reached already"
        if self.at is None and self.earliest is None:
            return f"{what} is not reached before {until:%d %b %Y}"
        latest = f"latest {self.latest:%d %b %Y}" if self.latest else "or never"
        if self.at is None:
            return f"{what} may be reached from {self.earliest:%d %b %Y} on, and most likely is not"
        return f"{what} is reached on {self.at:%d %b %Y}, earliest {self.earliest:%d %b %Y}, {latest}"


@dataclass(frozen=True, slots=True)
class _Model:
    """A method's answer: values and half an interval at each step ahead."""

    method: str
    values: Array
    half: Array


def forecast(
    points: Sequence[tuple[datetime, float]],
    *,
    step: timedelta,
    until: datetime,
    since: datetime | None = None,
    least: float | None = None,
    confidence: float = CONFIDENCE,
) -> Forecast:
    """The steps after the last one known, up to before `until`.

    One value a step, the oldest first; steps of which nothing is known are left out. `since`: where the history was
    asked for from; of that, half must be known. `least`: less the metric cannot be (a cost is not below 0).
    """
    known = [(at, value) for at, value in points if abs(value) < HUGE][-MOST:]
    count = len(known)
    if count < LEAST:
        return Forecast("", f"{count} values are known, {LEAST} are needed", count=count)
    first, last = known[0][0], known[-1][0]
    expected = int((last - first) / step) + 1
    if count < COVERED * expected:
        return Forecast("", f"{count} of {expected} steps are known, half of them are needed", count=count)
    ahead = int(math.ceil((until - last) / step)) - 1
    if ahead < 1:
        return Forecast("", "there is nothing left of the time asked for", count=count)
    if ahead > MOST_STEPS or ahead > FARTHEST * expected:
        days = expected * step / timedelta(days=1)
        return Forecast("", f"{days:.0f} days of history say nothing of a time so far ahead", count=count)
    error, widening, method = _choose(known, step, ahead, confidence)
    made = _models(known, step, ahead, confidence)[method]
    half = made.half * widening
    floor = -math.inf if least is None else least
    steps = tuple(
        Expected(
            last + (n + 1) * step,
            max(float(value), floor),
            max(float(value - wide), floor),
            max(float(value + wide), floor),
        )
        for n, (value, wide) in enumerate(zip(made.values, half, strict=True))
    )
    reason = f"{method} over {count} values, {confidence:.0%} interval"
    return Forecast(method, reason, steps, count, error, confidence)


def reach(found: Forecast, level: float, *, value: float | None = None, upward: bool = True) -> Reach:
    """When the forecast gets to the level, and when its interval's bounds do. `value`: where it is now."""
    if value is not None and (value >= level if upward else value <= level):
        return Reach(level, None, None, None, now=True)

    def first(name: str) -> datetime | None:
        for one in found.steps:
            at = getattr(one, name)
            if at >= level if upward else at <= level:
                return one.at
        return None

    near, far = ("high", "low") if upward else ("low", "high")
    return Reach(level, first("value"), first(near), first(far))


@dataclass(frozen=True, slots=True)
class Total:
    """What a period comes to: what is spent, and what is still to come with its interval."""

    spent: float
    value: float
    low: float
    high: float


def total(spent: float, found: Forecast, *, since: datetime, until: datetime, step: float) -> Total:
    """With what the steps bring between `since` and `until`, in proportion where one lies in it partly.

    The intervals of the steps are added up as if all erred together: wide rather than narrow. `step`: in seconds.
    """
    shares = []
    for one in found.steps:
        inside = min(one.at + timedelta(seconds=step), until) - max(one.at, since)
        shares.append((max(inside.total_seconds(), 0.0) / step, one))
    return Total(
        spent,
        summed([spent, *(share * one.value for share, one in shares)]),
        summed([spent, *(share * one.low for share, one in shares)]),
        summed([spent, *(share * one.high for share, one in shares)]),
    )


def _choose(
    known: Sequence[tuple[datetime, float]], step: timedelta, ahead: int, confidence: float
) -> tuple[float | None, float, str]:
    """The mean error, by how much the interval must be widened, and the method."""
    size = min(ahead, len(known) // (STRETCHES + 2))
    errors: dict[str, list[float]] = {}
    ratios: dict[str, list[float]] = {}
    rounds = 0
    for number in range(STRETCHES, 0, -1):
        cut = len(known) - number * size
        if size < 1 or cut < LEAST:
            continue
        rounds += 1
        past, then = known[:cut], known[cut : cut + size]
        # Holes: each known value is compared with the step that it belongs to.
        places = np.array([int((at - past[-1][0]) / step) - 1 for at, _ in then])
        seen = np.array([value for _, value in then])
        for method, made in _models(past, step, int(places.max()) + 1, confidence).items():
            away = np.abs(seen - made.values[places])
            errors.setdefault(method, []).append(float(away.mean()))
            ratios.setdefault(method, []).extend((away / np.maximum(made.half[places], 1e-300)).tolist())
    whole = {method: some for method, some in errors.items() if len(some) == rounds}
    if not whole:
        return None, 1.0, next(iter(_models(known, step, 1, confidence)))
    best = min(whole, key=lambda method: math.fsum(whole[method]))
    needed = float(np.quantile(np.array(ratios[best]), confidence, method="higher"))
    return math.fsum(whole[best]) / rounds, min(max(needed, 1.0), WIDEST), best


def _models(
    known: Sequence[tuple[datetime, float]], step: timedelta, ahead: int, confidence: float
) -> dict[str, _Model]:
    """What each method that fits the history says."""
    times, values = arrays(known)
    moments = [at for at, _ in known]
    further = times[-1] + np.arange(1, ahead + 1) * (step / timedelta(days=1))
    found = {}
    season = season_of(times, values, moments, step)
    if season is not None:
        repeated = np.array([season.at(moment) for moment in moments])
        coming = np.array([season.at(moments[-1] + (n + 1) * step) for n in range(ahead)])
        line = _line(times, values - repeated, further, confidence)
        found[SEASONAL] = replace(line, method=SEASONAL, values=line.values + coming)
        smooth = _damped(values - repeated, ahead, confidence)
        found[f"season and {DAMPED}"] = _Model(f"season and {DAMPED}", smooth.values + coming, smooth.half)
    found[LINEAR] = _line(times, values, further, confidence)
    found[DAMPED] = _damped(values, ahead, confidence)
    return found


def _line(times: Array, values: Array, further: Array, confidence: float) -> _Model:
    """Residuals' quantile and the slope's uncertainty, which grows with the distance from the history's middle."""
    _, fitted = judge(times, values)
    residuals = values - fitted.slope * times
    level = float(np.median(residuals))
    left = np.abs(residuals - level)
    noise = float(np.quantile(left, confidence, method="higher"))
    share = NormalDist().inv_cdf((1 + confidence) / 2) / NormalDist().inv_cdf(0.975)
    doubt = max(fitted.high - fitted.slope, fitted.slope - fitted.low) * share
    # The level is known as well as the mean of so many independent values.
    drift = noise * math.sqrt(correction(residuals) / len(values))
    half = np.sqrt(noise**2 + drift**2 + (doubt * (further - float(times.mean()))) ** 2)
    return _Model(LINEAR, fitted.slope * further + level, half)


def _damped(values: Array, ahead: int, confidence: float) -> _Model:
    """By the parameters of a grid that erred least one step ahead."""
    grid = list(product((0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.99), (0.01, 0.05, 0.1, 0.3), (0.8, 0.9, 0.98)))
    alphas, betas, phis = (np.array(column) for column in zip(*grid, strict=True))
    betas = alphas * betas
    # All of them at once, a value at a time.
    start = min(10, len(values))
    level = np.full(len(grid), float(np.median(values[:start])))
    slope = np.zeros(len(grid))
    squares = np.zeros(len(grid))
    for number, value in enumerate(values):
        error = value - (level + phis * slope)
        level, slope = level + phis * slope + alphas * error, phis * slope + betas * error
        if number >= start:
            squares += error**2
    best = int(np.argmin(squares))
    alpha, beta, phi = float(alphas[best]), float(betas[best]), float(phis[best])
    variance = float(squares[best]) / max(len(values) - start, 1)
    powers = np.cumsum(phi ** np.arange(1, ahead + 1))
    c = alpha + beta * powers
    grown = variance * (1 + np.concatenate(([0.0], np.cumsum(c[:-1] ** 2))))
    return _Model(
        DAMPED,
        float(level[best]) + powers * float(slope[best]),
        NormalDist().inv_cdf((1 + confidence) / 2) * np.sqrt(grown),
    )
