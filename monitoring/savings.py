"""What would cost less or disturb less, by rules with figures; and what was saved once it was done.

Each rule asks for enough data first: of what is not known nothing is advised.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from monitoring.histogram import bounded, summed

WEEK_HOURS = 168
KNOWN = 0.8  # share of the hours that must be known
MONTH = 30  # days that savings are told for
WEEK = 7  # days before and after: the same weekdays
# A cache that answers less than half of what it is asked costs more than it helps.
HIT_RATE = 0.5
LEAST_LOOKUPS = 1000
LEAST_REQUESTS = 1000
FAILS = 0.01  # error rate from which an endpoint is worth a word, and
TIMES = 3.0  # so many times that of the others
LEAST_ALERTS = 5
FALSE_SHARE = 0.5
LEAST_SERIES = 100
MOST_INSTANCES = 1_000_000  # a number beyond is none of instances


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule found: `subject` tells it apart within its rule. `expected`: saved in 30 days; None: not known."""

    rule: str
    subject: str
    title: str
    advice: str
    unit: str
    expected: float | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)
    service: str = ""
    environment: str = ""


@dataclass(frozen=True, slots=True)
class Price:
    """Of one instance for 30 days; without an amount the cost is known by a metric alone."""

    amount: float | None
    currency: str


def over_provisioned(
    policy: str,
    service: str,
    environment: str,
    load: Sequence[float],
    *,
    instances: float | None,
    target: float,
    minimum: int,
    price: Price | None,
) -> Finding | None:
    """By the load of each instance, hour by hour over a week: nineteen hours of twenty need no more than its p95."""
    if instances is None or instances > MOST_INSTANCES or len(load) < KNOWN * WEEK_HOURS:
        return None
    # As it was measured: between two of them, what lies far apart overflows.
    high = float(np.quantile(np.array(load), 0.95, method="higher"))
    needed = max(math.ceil(min(max(instances * high / target - 1e-9, 0.0), MOST_INSTANCES)), minimum)
    spare = math.floor(instances) - needed
    if spare < 1:
        return None
    return Finding(
        "over_provisioned",
        policy,
        f"{service} in {environment} needs {needed} instances, and has {instances:.0f}",
        f"Over 7 days the load stayed at {high:.4g} for each instance or below in 95 % of the hours, the target is "
        f"{target:g}. With {needed} it would be {high * instances / needed:.4g}.",
        price.currency if price else "instances",
        float(spare) if price is None else None if price.amount is None else bounded(spare * price.amount),
        {"p95": high, "target": target, "instances": instances, "needed": needed, "hours": len(load)},
        service,
        environment,
    )


def low_hit_rate(
    metric: str, service: str, environment: str, *, hits: float | None, misses: float | None, days: int = WEEK
) -> Finding | None:
    if hits is None or misses is None or not LEAST_LOOKUPS <= hits + misses < math.inf:
        return None
    rate = hits / (hits + misses)
    if rate >= HIT_RATE:
        return None
    return Finding(
        "low_hit_rate",
        f"{metric}:{service}:{environment}",
        f"The cache behind {metric} answers {rate:.0%} of what it is asked",
        "Look at its keys, its size and how long it keeps what it holds: most look-ups find nothing.",
        "misses",
        bounded((misses - hits) / 2 * MONTH / days),  # as many as there are above half of the look-ups
        {"metric": metric, "hits": hits, "misses": misses, "rate": rate, "days": days},
        service,
        environment,
    )


def error_prone(
    service: str, environment: str, metric: str, label: str, endpoints: Mapping[str, tuple[float, float]]
) -> Finding | None:
    """The worst of them: endpoint → (errors, requests) over a week."""
    errors = summed(bad for bad, _ in endpoints.values())
    requests = summed(total for _, total in endpoints.values())
    found: tuple[float, str, float, float, float] | None = None
    for name, (bad, total) in endpoints.items():
        others = requests - total
        if total < LEAST_REQUESTS or others < LEAST_REQUESTS:
            continue
        rate, usual = bad / total, (errors - bad) / others
        if rate >= FAILS and rate >= TIMES * usual and (found is None or rate > found[0]):
            found = (rate, name, bad, total, usual)
    if found is None:
        return None
    rate, name, bad, total, usual = found
    return Finding(
        "error_prone",
        f"{metric}:{service}:{environment}:{name}",
        f"{name} of {service} fails {rate:.1%} of the time",
        f"The other endpoints fail {usual:.2%} of the time: {bad:.0f} of {total:.0f} requests failed in 7 days.",
        "errors",
        bounded((bad - usual * total) * MONTH / WEEK),
        {
            "metric": metric,
            "label": label,
            "endpoint": name,
            "errors": bad,
            "requests": total,
            "rate": rate,
            "others": usual,
        },
        service,
        environment,
    )


def noisy_threshold(
    threshold: int, name: str, service: str, environment: str, *, alerts: int, false: int, days: int = MONTH
) -> Finding | None:
    """Of its alerts half were marked false."""
    if alerts < LEAST_ALERTS or false / alerts < FALSE_SHARE:
        return None
    return Finding(
        "noisy_threshold",
        str(threshold),
        f"{name}: {false} of {alerts} alerts were false",
        "Raise its bound, ask for a longer time, or compare it with what is usual: people who are called for nothing "
        "stop looking.",
        "false alerts",
        false * MONTH / days,
        {"threshold": threshold, "alerts": alerts, "false": false, "days": days},
        service,
        environment,
    )


def silent_threshold(threshold: int, name: str, service: str, environment: str, *, days: int | None) -> Finding | None:
    """`days` since anything that it judges was heard of; None: nothing ever was."""
    if days is not None and days < WEEK:
        return None
    since = "nothing that it judges has ever been heard of" if days is None else f"without data for {days} days"
    return Finding(
        "silent_threshold",
        str(threshold),
        f"{name} judges nothing",
        f"{since[:1].upper()}{since[1:]}: remove it, or see why its metric is no longer sent.",
        "thresholds",
        None,
        {"threshold": threshold, "days": days},
        service,
        environment,
    )


def unwatched_metric(metric: str, *, series: int) -> Finding | None:
    if series < LEAST_SERIES:
        return None
    return Finding(
        "unwatched_metric",
        metric,
        f"{metric} has {series} series, and nothing judges them",
        "No threshold, objective, capacity or policy names it. Send fewer labels, or stop sending it; "
        "or judge it, if somebody looks at it.",
        "series",
        float(series),
        {"metric": metric, "series": series},
    )


@dataclass(frozen=True, slots=True)
class Saving:
    """Measured, in 30 days; None: unknown, and `reason` says why. Negative: it costs more."""

    saved: float | None
    reason: str


def saving(
    before: float | None, after: float | None, *, before_known: float = 1.0, after_known: float = 1.0, words: str
) -> Saving:
    """What the week after cost less than the week before: the same weekdays. *_known: the share of their hours."""
    if before is None or after is None or min(before_known, after_known) < KNOWN:
        lacking = "before" if before is None or before_known < KNOWN else "after"
        return Saving(None, f"unknown: too little is known of {words} in the week {lacking} it was applied")
    return Saving(
        bounded((before - after) * MONTH / WEEK),
        f"{words}: {before:.4g} in the week before it was applied, {after:.4g} after",
    )
