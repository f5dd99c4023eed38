"""One sample or observation as it came: checked, and put into the store's terms."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

from monitoring.histogram import Distribution, Explicit
from monitoring.models.metrics import AHEAD, RESERVED_LABELS

LONGEST = 200  # characters of a metric's name, a label's value, an observation's key
MOST_LABELS = 30
MOST_BUCKETS = 200
# Smaller magnitudes are zero: arithmetic on them underflows, which PostgreSQL treats as an error.
TINY = 1e-300
LARGEST_COUNT = 2**53

METRIC_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]{0,199}\Z")
LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{0,199}\Z")
# RFC 3339; `fromisoformat` alone also takes week dates, times without a zone and other surprises.
RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)\Z")
# PostgreSQL keeps neither NUL nor half a surrogate pair.
UNKEEPABLE = re.compile("[\0\ud800-\udfff]")


class Wrong(Exception):
    """What is wrong with this one sample."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field, self.message = field, message


@dataclass(frozen=True, slots=True)
class Times:
    """Which times are taken, by the database's clock."""

    now: datetime
    oldest: datetime
    newest: datetime

    @classmethod
    def around(cls, now: datetime, *, retention: timedelta) -> "Times":
        return cls(now, now - retention, now + AHEAD)

    def read(self, raw: object) -> datetime:
        """RFC 3339 or Unix seconds (a datetime from our own code); None is now."""
        kind = type(raw)
        if raw is None:
            return self.now
        if kind is str:
            time = _rfc3339(raw)  # type: ignore[arg-type]
        elif kind is float or kind is int:
            time = _unix(raw)  # type: ignore[arg-type]
        elif isinstance(raw, datetime) and raw.tzinfo is not None:
            time = raw
        else:
            raise Wrong("time", "must be RFC 3339 or Unix seconds")
        if time > self.newest:
            raise Wrong("time", f"is more than {AHEAD.seconds} s ahead of the server's clock")
        if time < self.oldest:
            raise Wrong("time", "is older than raw samples are kept")
        return time


def _rfc3339(raw: str) -> datetime:
    if RFC3339.match(raw):
        try:
            return datetime.fromisoformat(raw.upper())
        except ValueError:
            pass
    raise Wrong("time", "must be RFC 3339 with its zone, as 2030-01-31T12:00:00Z, or Unix seconds")


def _unix(raw: float) -> datetime:
    try:
        return datetime.fromtimestamp(raw, UTC)
    except (OverflowError, ValueError, OSError):
        raise Wrong("time", "must be Unix seconds of a date in our days") from None


def number(raw: object, field: str = "value") -> float:
    """A finite number. True and False are none."""
    if type(raw) is float:
        made = raw
    elif type(raw) is int:
        try:
            made = float(raw)
        except OverflowError:
            raise Wrong(field, "must be a finite number") from None
    elif isinstance(raw, str) and raw.strip().lstrip("+-").lower() in ("nan", "inf", "infinity"):
        raise Wrong(field, "must be a finite number")
    else:
        raise Wrong(field, "is required" if raw is None else "must be a number")
    if not math.isfinite(made):
        raise Wrong(field, "must be a finite number")
    return 0.0 if -TINY < made < TINY else made


def metric_name(raw: object) -> str:
    if isinstance(raw, str) and METRIC_NAME.match(raw):
        return raw
    raise Wrong(
        "metric",
        "is required"
        if raw is None
        else f"must be 1 to {LONGEST} letters, digits, underscores or colons, not beginning with a digit",
    )


def labels(raw: object) -> dict[str, str]:
    """The labels without empty ones, which Prometheus takes for absent."""
    if raw is None:
        return {}
    if not isinstance(raw, Mapping):
        raise Wrong("labels", "must be an object")
    if len(raw) > MOST_LABELS:
        raise Wrong("labels", f"at most {MOST_LABELS} labels, not {len(raw)}")
    made: dict[str, str] = {}
    for name, value in raw.items():
        if not isinstance(name, str) or not LABEL_NAME.match(name) or name.startswith("__"):
            shown = str(name)[:50].encode("ascii", "backslashreplace").decode()
            raise Wrong(
                "labels",
                f"'{shown}' is no label name: letters, digits and underscores, not beginning with a digit "
                "or with two underscores",
            )
        field = f"labels.{name}"
        if not isinstance(value, str):
            raise Wrong(field, "must be a string")
        if len(value) > LONGEST:
            raise Wrong(field, f"at most {LONGEST} characters, not {len(value)}")
        if UNKEEPABLE.search(value):
            raise Wrong(field, "may not contain NUL or half a surrogate pair")
        if value:
            made[name] = value
        elif name in RESERVED_LABELS:
            raise Wrong(field, "may not be empty")
    return made


def key(raw: object) -> str:
    """An observation's own idempotency key."""
    if raw is None:
        raise Wrong("key", "is required")
    if not isinstance(raw, str) or not 1 <= len(raw) <= LONGEST or UNKEEPABLE.search(raw):
        raise Wrong("key", f"must be 1 to {LONGEST} characters")
    return raw


def distribution(raw: Mapping[Any, Any]) -> Distribution:
    """{"count","sum","buckets":[[upper bound, count in this bucket alone],…],"min"?,"max"?}.

    It holds what was observed since the series' last sample. What the buckets leave of the count lies above
    the last bound; "+Inf" may name that bucket.
    """
    unknown = sorted(str(name) for name in set(raw) - {"count", "sum", "buckets", "min", "max"})
    if unknown:
        raise Wrong(f"value.{_shown(unknown[0])}", "unknown field")
    total = _count(raw.get("count"), "value.count")
    low = number(raw["min"], "value.min") if raw.get("min") is not None else None
    high = number(raw["max"], "value.max") if raw.get("max") is not None else None
    if low is not None and high is not None and low > high:
        raise Wrong("value.min", "is above max")
    bounds, counts = _buckets(raw.get("buckets"))
    above = total - sum(counts[: len(bounds)])
    if above < 0 or (len(counts) > len(bounds) and counts[-1] != above):
        raise Wrong("value.buckets", f"hold {sum(counts)} observations, but count is {total}")
    return Explicit(bounds, (*counts[: len(bounds)], above), number(raw.get("sum"), "value.sum"), low, high)


def _buckets(raw: object) -> tuple[tuple[float, ...], tuple[int, ...]]:
    if not isinstance(raw, list | tuple):
        raise Wrong("value.buckets", "must be a list of [upper bound, count]" if raw is not None else "is required")
    if len(raw) > MOST_BUCKETS:
        raise Wrong("value.buckets", f"at most {MOST_BUCKETS} buckets, not {len(raw)}")
    bounds: list[float] = []
    counts: list[int] = []
    for place, pair in enumerate(raw):
        field = f"value.buckets[{place}]"
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise Wrong(field, "must be [upper bound, count]")
        counts.append(_count(pair[1], field))
        if pair[0] in ("+Inf", "Inf", math.inf) and place == len(raw) - 1:
            break
        bounds.append(number(pair[0], field))
    if any(left >= right for left, right in pairwise(bounds)):
        raise Wrong("value.buckets", "bounds must rise")
    return tuple(bounds), tuple(counts)


def _count(raw: object, field: str) -> int:
    if raw is None:
        raise Wrong(field, "is required")
    if isinstance(raw, bool) or not isinstance(raw, int | float) or not 0 <= raw <= LARGEST_COUNT or raw != int(raw):
        raise Wrong(field, "must be a whole number, not negative")
    return int(raw)


def no_others(raw: Mapping[Any, Any], known: frozenset[str]) -> None:
    """A field that we do not know may be a time or a label in the wrong place: swallowing it would be a lie."""
    for name in raw:
        if name not in known:
            raise Wrong(_shown(str(name)), "unknown field")


def _shown(name: str) -> str:
    return name[:100].encode("ascii", "backslashreplace").decode()
