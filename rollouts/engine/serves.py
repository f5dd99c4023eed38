"""Reading what a rule or the fallthrough serves, and showing it again as people write it."""

import math
from collections.abc import Collection, Mapping
from typing import Any

from rollouts.engine import legacy, legacy_reading, operators, reading, schedules
from rollouts.engine.reading import Faults
from rollouts.engine.types import FULL

FIELDS = ("variant", "split", "rollout", "by", "schedule", "bucketing")
MOST_POINTS = 100
MOST_BY = 10


def serve(value: Any, path: str, faults: Faults, *, variants: Collection[str]) -> dict[str, Any]:
    """A `{"variant"}` or `{"split"}`, with `rollout`, `schedule`, `by` and `bucketing`, as it is stored."""
    given = reading.an_object(value, path, faults, fields=FIELDS)
    read: dict[str, Any] = {}
    if not isinstance(value, Mapping):
        return read
    if given.get("bucketing") is not None:
        read["bucketing"] = legacy_reading.bucketing(given["bucketing"], f"{path}.bucketing", faults, variants=variants)
        _legacy(given, read, path, faults, variants=variants)
    elif ("variant" in given) == ("split" in given):
        faults.add(path, "serves either a variant or a split")
    elif "split" in given:
        read["split"] = _split(given["split"], f"{path}.split", faults, variants=variants)
    if "variant" in given:
        read["variant"] = reading.a_variant(given["variant"], f"{path}.variant", faults, variants=variants)
    if "rollout" in given:
        read["rollout"] = reading.a_percentage(given["rollout"], f"{path}.rollout", faults)
    if "by" in given:
        read["by"] = _by(given["by"], f"{path}.by", faults)
    if given.get("schedule") is not None:
        read["schedule"] = _schedule(given["schedule"], f"{path}.schedule", faults)
    return read


def _legacy(
    given: Mapping[str, Any], read: dict[str, Any], path: str, faults: Faults, *, variants: Collection[str]
) -> None:
    """Another system's way of bucketing: its own weights, in their order, say the split."""
    source = read["bucketing"]
    algo = source.get("algo")
    if not algo or any(one.startswith(f"{path}.bucketing") for one in faults):
        return
    own = "weights" in source or "ranges" in source
    if own == ("variant" in given):
        faults.add(path, "serves either a variant or what the weights or ranges of its bucketing say")
    if own:
        read["split"] = {variant: round(share * FULL) for variant, share in legacy.shares(source).items()}
        if not any(read["split"].values()):
            faults.add(f"{path}.bucketing", "gives nobody anything")
        if "split" in given and _split(given["split"], f"{path}.split", faults, variants=variants) != read["split"]:
            faults.add(
                f"{path}.split",
                "is not what its bucketing says: change that, or switch to the portal's own first",
            )
    if algo not in legacy.RAMPED or (algo == legacy.GROWTHBOOK and own):
        for name in ("rollout", "schedule"):
            if given.get(name) not in (None, 100):
                faults.add(f"{path}.{name}", f"{algo} knows no share beside its weights")


def _by(value: Any, path: str, faults: Faults) -> str | list[str]:
    """An attribute, or several of which the first that is present counts."""
    if not isinstance(value, list):
        return reading.a_text(value, path, faults, longest=128)
    found = [reading.a_text(one, f"{path}[{n}]", faults, longest=128) for n, one in enumerate(value[: MOST_BY + 1])]
    if not 0 < len(found) <= MOST_BY:
        faults.add(path, f"names 1 to {MOST_BY} attributes")
    elif len(set(found)) != len(found):
        faults.add(path, "names the same twice")
    return found[0] if len(found) == 1 else found


def _schedule(value: Any, path: str, faults: Faults) -> dict[str, Any]:
    given = reading.an_object(value, path, faults, fields=("kind", "points", "zone"))
    if not isinstance(value, Mapping):
        return {}
    kind, zone = given.get("kind"), None
    if kind not in schedules.KINDS:
        faults.add(f"{path}.kind", f"choose from {', '.join(schedules.KINDS)}")
    if given.get("zone") is not None:
        zone = schedules.zone_of(given["zone"])
        if zone is None:
            faults.add(f"{path}.zone", "is no IANA time zone such as Europe/Warsaw")
    points: list[dict[str, Any]] = []
    last = -math.inf
    listed = reading.a_list(given.get("points"), f"{path}.points", faults, most=MOST_POINTS)
    for n, one in enumerate(listed):
        at = f"{path}.points[{n}]"
        point = reading.an_object(one, at, faults, fields=("at", "rollout"))
        rollout = reading.a_percentage(point.get("rollout"), f"{at}.rollout", faults)
        try:
            when = schedules.instant(point.get("at"), zone)
        except schedules.BadTime as bad:
            faults.add(f"{at}.at", str(bad))
            continue
        seconds = operators.moment(when) or 0.0
        if seconds <= last:
            faults.add(f"{at}.at", "must be after the point before it")
        last = seconds
        points.append({"at": when, "rollout": rollout})
    fewest = 2 if kind == schedules.LINEAR else 1
    if len(listed) < fewest:
        faults.add(
            f"{path}.points",
            "needs at least two: where it begins and where it ends" if fewest == 2 else "needs at least one",
        )
    read = {"kind": kind, "points": points}
    return read if zone is None else read | {"zone": zone.key}


def _split(value: Any, path: str, faults: Faults, *, variants: Collection[str]) -> dict[str, int]:
    if not isinstance(value, Mapping):
        faults.add(path, "must be an object of variants and their weights")
        return {}
    for key in value:
        reading.a_variant(key, f"{path}.{key}", faults, variants=variants)
    weights = {key: reading.a_percentage(weight, f"{path}.{key}", faults) for key, weight in value.items()}
    if not any(weights.values()):
        faults.add(path, "needs a weight above 0")
    return weights


def shown_serve(stored: Mapping[str, Any]) -> dict[str, Any]:
    """A stored `serve` with its percentages as people write them."""
    shown = dict(stored)
    if "rollout" in shown:
        shown["rollout"] = reading.percentage(shown["rollout"])
    if "split" in shown:
        shown["split"] = {key: reading.percentage(weight) for key, weight in shown["split"].items()}
    if "schedule" in shown:
        points = [{**one, "rollout": reading.percentage(one["rollout"])} for one in shown["schedule"]["points"]]
        shown["schedule"] = {**shown["schedule"], "points": points}
    return shown
