"""How many instances a service needs, and how urgently: from what they do now and what is to come.

The number is what a horizontal autoscaler asks for (Kubernetes' documentation of the HorizontalPodAutoscaler: the
ceiling of instances x value / target, nothing within a tolerance of the target), the larger of the one for now and the
one for the time in which new instances are ready. Fewer are advised only when even the forecast's upper bound allows
it. Without data there is no decision, and that is said.
"""

import math
from dataclasses import dataclass
from enum import StrEnum

URGENT = 1.5  # times the target
# A quotient this near to a whole number is one: 4 x 60 / 60 in floating point.
NEARLY = 1e-9
MOST = 1_000_000  # instances: a number beyond says nothing, and one that overflows is none


class Way(StrEnum):
    UP = "scale_up"
    DOWN = "scale_down"
    NONE = "none"


class Urgency(StrEnum):
    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


class Code(StrEnum):
    """Why nothing is to be done, or what for."""

    LOAD = "load"
    FORECAST = "forecast"
    IDLE = "idle"
    BELOW_MINIMUM = "below_minimum"
    ABOVE_MAXIMUM = "above_maximum"
    STEADY = "steady"
    AT_MAXIMUM = "at_maximum"
    COOLING = "cooling"
    NO_DATA = "no_data"
    NO_COUNT = "no_count"


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a policy says. target: of the metric, for each instance; tolerance: as a share of it."""

    target: float
    minimum: int
    maximum: int
    up_step: int
    down_step: int
    tolerance: float = 0.1


@dataclass(frozen=True, slots=True)
class Ahead:
    """What is expected once new instances are ready; `high`: the upper bound of its interval."""

    value: float
    high: float
    words: str


@dataclass(frozen=True, slots=True)
class Decision:
    """So many instances from now on; None where it is not known how many there are."""

    way: Way
    instances: int | None
    urgency: Urgency
    code: Code
    reason: str


def decide(
    bounds: Bounds,
    *,
    instances: int | None,
    value: float | None,
    ahead: Ahead | None = None,
    up_after: float = 0,
    down_after: float = 0,
) -> Decision:
    """What is to be done. up_after, down_after: seconds for which the last change cools down yet."""
    if instances is None:
        return Decision(Way.NONE, None, Urgency.LOW, Code.NO_COUNT, "it is not known how many instances there are")
    if instances < bounds.minimum:
        reason = f"{instances} are fewer than the minimum of {bounds.minimum}"
        return Decision(Way.UP, bounds.minimum, Urgency.HIGH, Code.BELOW_MINIMUM, reason)
    if instances > bounds.maximum:
        reason = f"{instances} are more than the maximum of {bounds.maximum}"
        return Decision(Way.DOWN, bounds.maximum, Urgency.LOW, Code.ABOVE_MAXIMUM, reason)
    if value is None:
        return Decision(Way.NONE, instances, Urgency.LOW, Code.NO_DATA, "no data: nothing is decided")
    now = needed(bounds, instances, value)
    later = now if ahead is None else needed(bounds, instances, ahead.value)
    if max(now, later) > instances:
        return _more(bounds, instances, value, ahead, now, later, up_after)
    least = now if ahead is None else max(now, needed(bounds, instances, ahead.high))
    if least < instances:
        return _fewer(bounds, instances, value, ahead, least, down_after)
    reason = f"{value:.4g} for each of {instances} fits the target of {bounds.target:g}"
    return Decision(Way.NONE, instances, Urgency.LOW, Code.STEADY, reason)


def needed(bounds: Bounds, instances: int, value: float) -> int:
    """For this load on so many instances; as many as there are where it is within the tolerance."""
    ratio = value / bounds.target
    if abs(ratio - 1) <= bounds.tolerance:
        return instances
    return math.ceil(min(max(instances * ratio - NEARLY, 1.0), MOST))


def _more(
    bounds: Bounds, instances: int, value: float, ahead: Ahead | None, now: int, later: int, after: float
) -> Decision:
    for_now = now > instances
    wanted = max(now, later)
    told = f"{value:.4g} for each of {instances}, the target is {bounds.target:g}"
    if ahead is not None and later > now:
        told += f"; {ahead.words}"
    urgent = value >= URGENT * bounds.target
    urgency = Urgency.HIGH if urgent else Urgency.NORMAL if for_now else Urgency.LOW
    if instances >= bounds.maximum:
        return Decision(
            Way.NONE,
            instances,
            urgency,
            Code.AT_MAXIMUM,
            f"{told}: {wanted} would be needed, {instances} is the maximum",
        )
    if after > 0:
        reason = f"{told}: {wanted} would be needed, the last change cools down for {after:.0f} s yet"
        return Decision(Way.NONE, instances, urgency, Code.COOLING, reason)
    given = min(wanted, instances + bounds.up_step, bounds.maximum)
    if given < wanted:
        told += f"; {wanted} would be needed"
    return Decision(Way.UP, given, urgency, Code.LOAD if for_now else Code.FORECAST, told)


def _fewer(bounds: Bounds, instances: int, value: float, ahead: Ahead | None, least: int, after: float) -> Decision:
    wanted = max(least, bounds.minimum)
    told = f"{value:.4g} for each of {instances}, the target is {bounds.target:g}"
    if ahead is not None:
        told += f"; {ahead.words}"
    if wanted >= instances:
        reason = f"{told}: {instances} is the minimum"
        return Decision(Way.NONE, instances, Urgency.LOW, Code.STEADY, reason)
    if after > 0:
        reason = f"{told}: {wanted} would do, the last change cools down for {after:.0f} s yet"
        return Decision(Way.NONE, instances, Urgency.LOW, Code.COOLING, reason)
    return Decision(Way.DOWN, max(wanted, instances - bounds.down_step), Urgency.LOW, Code.IDLE, told)
