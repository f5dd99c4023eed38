"""How other systems bucket, bit for bit: a rollout that came from one of them keeps every user where he was."""

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any

from rollouts.engine import bucketing, hashing
from rollouts.engine.operators import read
from rollouts.engine.types import FULL, OUTSIDE, SKIPPED, TARGETING_KEY, Context, Result, Serve

UNLEASH = "unleash-murmur3"
GROWTHBOOK = "growthbook-fnv1a"
FLAGD = "flagd-murmur3"
LAUNCHDARKLY = "launchdarkly-sha1"
ALGORITHMS = (UNLEASH, GROWTHBOOK, FLAGD, LAUNCHDARKLY)
RAMPED = (UNLEASH, GROWTHBOOK)  # those that know a share beside their weights
OWN = "r1"
VARIANT_SEED = 86028157  # Unleash's, for variants
STEPS = {1: 1000, 2: 10_000}  # GrowthBook's hash versions: into how many parts they divide users
Told = dict[str, Any] | None
Make = Callable[[str], Result]


class Bucketing:
    """One rollout's way of dividing its users. `serve` says the share, and the answer when a unit is needed."""

    __slots__ = ("by",)

    def __init__(self, by: Sequence[str]) -> None:
        self.by = tuple(by)

    def decide(self, serve: Serve, context: Context, told: Told) -> Result:
        raise NotImplementedError


def compiled(source: Mapping[str, Any], serve: Mapping[str, Any], make: Make) -> Bucketing:
    """What a checked `serve` with its `bucketing` asks for."""
    by = serve.get("by", TARGETING_KEY)
    several = [by] if isinstance(by, str) else by
    only = make(serve["variant"]) if "variant" in serve else None
    kinds: dict[str, Callable[..., Bucketing]] = {
        UNLEASH: Unleash, GROWTHBOOK: GrowthBook, FLAGD: Flagd, LAUNCHDARKLY: LaunchDarkly,
    }  # fmt: skip
    return kinds[source["algo"]](source, several, only, make)


def shares(source: Mapping[str, Any]) -> dict[str, float]:
    """The part of all users (0…1) that each variant gets, as weights or ranges say."""
    found: dict[str, float] = {}
    if "ranges" in source:
        for variant, start, end in source["ranges"]:
            found[variant] = found.get(variant, 0) + max(0, end - start) / STEPS[source["version"]]
    elif "weights" in source:
        total = sum(weight for _, weight in source["weights"]) or 1
        for variant, weight in source["weights"]:
            found[variant] = found.get(variant, 0) + weight / total
    return found


class Unleash(Bucketing):
    """murmur3("group:unit") into 1…100 for the share, and with a seed of its own into 1…total for the variant."""

    __slots__ = ("anonymous", "ends", "group", "only", "total", "variants_by", "variants_group")

    def __init__(self, source: Mapping[str, Any], by: Sequence[str], only: Result | None, make: Make) -> None:
        super().__init__(by)
        self.only = only
        self.group = source["group"]
        self.anonymous = source.get("anonymous", False)
        self.variants_group = source.get("variants_group", self.group)
        self.variants_by = tuple(source.get("variants_by", by))
        self.ends, self.total = _ends(source.get("weights", ()), make)

    def decide(self, serve: Serve, context: Context, told: Told) -> Result:
        unit = first_unit(context, self.by)
        if unit is None and not (self.anonymous and serve.rollout == FULL):
            return _skipped(self.by, told)
        if unit is not None and serve.rollout < FULL:
            number = _normalized(self.group, unit, 100, 0)
            if number * 1000 > serve.rollout:
                return _outside(f"Unleash's hash {number} of 100 is beyond {serve.rollout / 1000:g} %", told)
            _say(f"Unleash's hash {number} of 100 is within {serve.rollout / 1000:g} %", told)
        if self.only is not None:
            return self.only
        if len(self.ends) == 1:
            return self.ends[0][1]
        # Unleash throws dice when there is no unit; here all of those get the same.
        unit = first_unit(context, self.variants_by) or ""
        number = _normalized(self.variants_group, unit, self.total, VARIANT_SEED)
        return _chosen(self.ends, number - 1, f"Unleash's hash {number} of {self.total}", told)


class GrowthBook(Bucketing):
    """FNV-1a into 1000 or 10 000 parts: the first of them for a share, ranges of them for variants."""

    __slots__ = ("filters", "only", "ranges", "scale", "seed", "version")

    def __init__(self, source: Mapping[str, Any], by: Sequence[str], only: Result | None, make: Make) -> None:
        super().__init__(by)
        self.only = only
        self.seed, self.version = source["seed"], source["version"]
        self.scale = FULL // STEPS[self.version]
        self.ranges = tuple((start, end, make(variant)) for variant, start, end in source.get("ranges", ()))
        self.filters = tuple(
            (one["seed"], one["version"], tuple(one.get("by", by)), tuple(map(tuple, one["ranges"])))
            for one in source.get("filters", ())
        )

    def decide(self, serve: Serve, context: Context, told: Told) -> Result:
        for seed, version, by, ranges in self.filters:
            its_unit = first_unit(context, by)
            if its_unit is None:
                return _skipped(by, told)
            number = part(seed, its_unit, version)
            if not any(start <= number < end for start, end in ranges):
                return _outside(f"GrowthBook's hash {number} of {STEPS[version]} is outside of its namespace", told)
        if self.only is not None and serve.rollout == FULL:
            return self.only
        unit = first_unit(context, self.by)
        if unit is None:
            return _skipped(self.by, told)
        number = part(self.seed, unit, self.version)
        words = f"GrowthBook's hash {number} of {STEPS[self.version]}"
        if self.only is not None:
            if number * self.scale >= serve.rollout:
                return _outside(f"{words} is beyond {serve.rollout / 1000:g} %", told)
            _say(f"{words} is within {serve.rollout / 1000:g} %", told)
            return self.only
        for start, end, result in self.ranges:
            if start <= number < end:
                _say(f"{words} gives {result.variant}", told)
                return result
        return _outside(f"{words} is in no range", told)


class Flagd(Bucketing):
    """murmur3 of a value (as CBOR, or as its text) times the sum of weights, its upper half."""

    __slots__ = ("as_text", "ends", "joined", "only", "parts", "total")

    def __init__(self, source: Mapping[str, Any], by: Sequence[str], only: Result | None, make: Make) -> None:
        super().__init__(by)
        self.only = only
        self.as_text = source["encoding"] == "text"
        self.joined = source["joined"]
        self.parts = tuple((one.get("text"), one.get("attr")) for one in source["value"])
        self.ends, self.total = _ends(source.get("weights", ()), make)

    def decide(self, serve: Serve, context: Context, told: Told) -> Result:
        values = [text if attr is None else read(context, attr) for text, attr in self.parts]
        if not self.joined and any(value is None or (value == "" and len(values) > 1) for value in values):
            return _skipped([attr for _, attr in self.parts if attr], told)
        if self.joined or self.as_text:
            value: Any = "".join(map(_as_text, values))
        else:
            value = values[0] if len(values) == 1 else values
        try:
            data = value.encode("utf-8", "surrogatepass") if self.as_text else hashing.cbor(value)
        except ValueError:
            return _skipped([attr for _, attr in self.parts if attr], told)
        number = (hashing.murmur3(data) * self.total) >> 32
        return _chosen(self.ends, number, f"flagd's hash {number} of {self.total}", told)


class LaunchDarkly(Bucketing):
    """SHA-1 of "key.salt.unit" as a fraction; without a unit the first variant, as there."""

    __slots__ = ("ends", "only", "prefix")

    def __init__(self, source: Mapping[str, Any], by: Sequence[str], only: Result | None, make: Make) -> None:
        super().__init__(by)
        self.only = only
        self.prefix = f"{source['seed']}." if "seed" in source else f"{source['key']}.{source['salt']}."
        weights = source.get("weights", ())
        # Added up as they add up there, in floating point.
        sums = accumulate((weight / 100_000.0 for _, weight in weights), initial=0.0)
        self.ends = tuple(zip(list(sums)[1:], (make(variant) for variant, _ in weights), strict=True))

    def decide(self, serve: Serve, context: Context, told: Told) -> Result:
        unit = first_unit(context, self.by)
        fraction = 0.0 if unit is None else hashing.sha1_fraction(self.prefix + unit)
        # Rounded sums may end below 1: the last one takes the rest.
        result = next((result for end, result in self.ends if fraction < end), self.ends[-1][1])
        _say(f"LaunchDarkly's hash {fraction:.6f} gives {result.variant}", told)
        return result


# --- How ----------------------------------------------------------------------------------------
def first_unit(context: Context, by: Sequence[str]) -> str | None:
    for attr in by:
        unit = bucketing.unit_of(read(context, attr))
        if unit is not None:
            return unit
    return None


def part(seed: str, unit: str, version: int) -> int:
    """GrowthBook's hash: which part of a thousand, or of ten thousand, a unit is in."""
    if version == 1:
        return hashing.fnv1a(unit + seed) % STEPS[1]
    return hashing.fnv1a(str(hashing.fnv1a(seed + unit))) % STEPS[2]


def _normalized(group: str, unit: str, of: int, seed: int) -> int:
    return hashing.murmur3(f"{group}:{unit}".encode("utf-8", "surrogatepass"), seed) % of + 1


def _ends(weights: Sequence[Sequence[Any]], make: Make) -> tuple[tuple[tuple[int, Result], ...], int]:
    """Where the stretch of each variant ends, in their order; and the sum."""
    sums = list(accumulate(weight for _, weight in weights))
    ends = tuple((end, make(one[0])) for end, one in zip(sums, weights, strict=True) if one[1] > 0)
    return ends, sums[-1] if sums else 0


def _chosen(ends: tuple[tuple[int, Result], ...], number: int, words: str, told: Told) -> Result:
    result = next(result for end, result in ends if number < end)
    _say(f"{words} gives {result.variant}", told)
    return result


def _as_text(value: Any) -> str:
    return "null" if value is None else value if type(value) is str else bucketing.unit_of(value) or ""


def _skipped(by: Sequence[str], told: Told) -> Result:
    _say(f"the context has no {' or '.join(by)}, by which it is decided", told)
    return SKIPPED


def _outside(words: str, told: Told) -> Result:
    _say(words, told)
    return OUTSIDE


def _say(words: str, told: Told) -> None:
    if told is not None:
        told["why"] = f"{told['why']}; {words}" if "why" in told else words
