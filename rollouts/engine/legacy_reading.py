"""Reading a `bucketing`: how another system divided its users, checked field by field."""

from collections.abc import Collection, Mapping
from typing import Any

from rollouts.engine import legacy, reading
from rollouts.engine.reading import Faults

MOST_PARTS = 100
LARGEST_SUM = 2**31 - 1
FIELDS: dict[str, tuple[str, ...]] = {
    legacy.UNLEASH: ("group", "anonymous", "weights", "variants_group", "variants_by"),
    legacy.GROWTHBOOK: ("version", "seed", "ranges", "filters"),
    legacy.FLAGD: ("encoding", "value", "joined", "weights"),
    legacy.LAUNCHDARKLY: ("key", "salt", "seed", "weights"),
}


def bucketing(value: Any, path: str, faults: Faults, *, variants: Collection[str]) -> dict[str, Any]:
    """As it is stored; empty, with faults, where it cannot be used."""
    if not isinstance(value, Mapping):
        faults.add(path, "must be an object")
        return {}
    algo = value.get("algo")
    if not isinstance(algo, str) or algo not in FIELDS:
        faults.add(f"{path}.algo", f"choose from {', '.join(legacy.ALGORITHMS)}")
        return {}
    given = reading.an_object(value, path, faults, fields=("algo", *FIELDS[algo]))
    readers = {
        legacy.UNLEASH: _unleash, legacy.GROWTHBOOK: _growthbook, legacy.FLAGD: _flagd, legacy.LAUNCHDARKLY: _ld,
    }  # fmt: skip
    return {"algo": algo, **readers[algo](given, path, faults, variants)}


def _unleash(given: Mapping[str, Any], path: str, faults: Faults, variants: Collection[str]) -> dict[str, Any]:
    read: dict[str, Any] = {"group": reading.a_text(given.get("group"), f"{path}.group", faults)}
    if "anonymous" in given:
        read["anonymous"] = reading.a_truth(given["anonymous"], f"{path}.anonymous", faults)
    if "weights" in given:
        read["weights"] = _weights(given["weights"], f"{path}.weights", faults, variants)
    if "variants_group" in given:
        read["variants_group"] = reading.a_text(given["variants_group"], f"{path}.variants_group", faults)
    if "variants_by" in given:
        read["variants_by"] = _attributes(given["variants_by"], f"{path}.variants_by", faults)
    return read


def _growthbook(given: Mapping[str, Any], path: str, faults: Faults, variants: Collection[str]) -> dict[str, Any]:
    version = _version(given.get("version"), f"{path}.version", faults)
    read: dict[str, Any] = {
        "version": version, "seed": reading.a_text(given.get("seed"), f"{path}.seed", faults),
    }  # fmt: skip
    if "ranges" in given:
        read["ranges"] = []
        for n, one in enumerate(reading.a_list(given["ranges"], f"{path}.ranges", faults, most=MOST_PARTS)):
            at = f"{path}.ranges[{n}]"
            if not isinstance(one, list) or len(one) != 3:
                faults.add(at, "must be a variant, where its range begins and where it ends")
                continue
            variant = reading.a_variant(one[0], f"{at}[0]", faults, variants=variants)
            read["ranges"].append([variant, *_range(one[1:], at, faults, legacy.STEPS[version])])
        if not read["ranges"]:
            faults.add(f"{path}.ranges", "needs at least one")
    if "filters" in given:
        filters = reading.a_list(given["filters"], f"{path}.filters", faults, most=20)
        read["filters"] = [_filter(one, f"{path}.filters[{n}]", faults) for n, one in enumerate(filters)]
    return read


def _filter(value: Any, path: str, faults: Faults) -> dict[str, Any]:
    given = reading.an_object(value, path, faults, fields=("seed", "version", "by", "ranges"))
    version = _version(given.get("version"), f"{path}.version", faults)
    read: dict[str, Any] = {"seed": reading.a_text(given.get("seed"), f"{path}.seed", faults), "version": version}
    if "by" in given:
        read["by"] = _attributes(given["by"], f"{path}.by", faults)
    ranges = reading.a_list(given.get("ranges"), f"{path}.ranges", faults, most=MOST_PARTS)
    steps = legacy.STEPS[version]
    read["ranges"] = [_range(one, f"{path}.ranges[{n}]", faults, steps) for n, one in enumerate(ranges)]
    return read


def _flagd(given: Mapping[str, Any], path: str, faults: Faults, variants: Collection[str]) -> dict[str, Any]:
    encoding = given.get("encoding")
    if encoding not in ("cbor", "text"):
        faults.add(f"{path}.encoding", "choose from cbor, text")
    parts = []
    for n, one in enumerate(reading.a_list(given.get("value"), f"{path}.value", faults, most=20)):
        at = f"{path}.value[{n}]"
        part = reading.an_object(one, at, faults, fields=("text", "attr"))
        if isinstance(one, Mapping) and ("text" in part) == ("attr" in part):
            faults.add(at, "is either a text or an attr")
        parts.append({name: reading.a_text(part[name], f"{at}.{name}", faults) for name in part})
    if not parts:
        faults.add(f"{path}.value", "needs at least one part")
    joined = reading.a_truth(given.get("joined", False), f"{path}.joined", faults)
    weights = _weights(given.get("weights"), f"{path}.weights", faults, variants)
    return {"encoding": encoding, "value": parts, "joined": joined, "weights": weights}


def _ld(given: Mapping[str, Any], path: str, faults: Faults, variants: Collection[str]) -> dict[str, Any]:
    read: dict[str, Any] = {"weights": _weights(given.get("weights"), f"{path}.weights", faults, variants)}
    if "seed" in given:
        read["seed"] = _whole(given["seed"], f"{path}.seed", faults, -LARGEST_SUM, LARGEST_SUM)
    else:
        read["key"] = reading.a_text(given.get("key"), f"{path}.key", faults)
        read["salt"] = reading.a_text(given.get("salt"), f"{path}.salt", faults)
    return read


# --- Parts --------------------------------------------------------------------------------------
def _weights(value: Any, path: str, faults: Faults, variants: Collection[str]) -> list[list[Any]]:
    """`[[variant, weight]]` in the order that counts."""
    found: list[list[Any]] = []
    for n, one in enumerate(reading.a_list(value, path, faults, most=MOST_PARTS)):
        if not isinstance(one, list) or len(one) != 2:
            faults.add(f"{path}[{n}]", "must be a variant and its weight")
            continue
        variant = reading.a_variant(one[0], f"{path}[{n}][0]", faults, variants=variants)
        found.append([variant, _whole(one[1], f"{path}[{n}][1]", faults, 0, LARGEST_SUM)])
    if not 0 < sum(weight for _, weight in found) <= LARGEST_SUM:
        faults.add(path, f"needs a sum from 1 to {LARGEST_SUM}")
    return found


def _range(value: Any, path: str, faults: Faults, steps: int) -> list[int]:
    if not isinstance(value, list) or len(value) != 2:
        faults.add(path, "must be where a range begins and where it ends")
        return [0, 0]
    return [_whole(one, f"{path}[{n}]", faults, 0, steps) for n, one in enumerate(value)]


def _version(value: Any, path: str, faults: Faults) -> int:
    if type(value) is not int or value not in legacy.STEPS:
        faults.add(path, "choose from 1, 2")
        return 1
    return value


def _whole(value: Any, path: str, faults: Faults, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        faults.add(path, f"must be a whole number from {least} to {most}")
        return least
    return value


def _attributes(value: Any, path: str, faults: Faults) -> list[str]:
    listed = reading.a_list(value, path, faults, most=10)
    if isinstance(value, list) and not value:
        faults.add(path, "names at least one attribute")
    return [reading.a_text(one, f"{path}[{n}]", faults, longest=128) for n, one in enumerate(listed)]
