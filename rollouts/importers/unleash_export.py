"""The two shapes of an Unleash document: what clients fetch (one environment), and what the server exports (all)."""

from collections.abc import Mapping
from typing import Any

from rollouts.engine.reading import Faults
from rollouts.importers.options import Options


def environments_of(document: Any, options: Options, faults: Faults) -> dict[str, Mapping[str, Any]]:
    """{our environment: what its clients would fetch}."""
    if not isinstance(document, Mapping):
        faults.add("document", "must be an object with features")
        return {}
    if "featureStrategies" not in document and "featureEnvironments" not in document:
        if not options.environment:
            faults.add("environment", "is needed: the document is about one environment, without its name")
            return {}
        return {options.environment: document}
    return _exported(document, options, faults)


def _exported(document: Mapping[str, Any], options: Options, faults: Faults) -> dict[str, Mapping[str, Any]]:
    rows = {name: _rows(document, name, faults) for name in ("features", "featureStrategies", "featureEnvironments")}
    said = [row.get("environment") for row in (*rows["featureStrategies"], *rows["featureEnvironments"])]
    named: set[str] = {one for one in said if isinstance(one, str)}
    chosen = dict(options.environments) or {name: name for name in named if options.environment in ("", name)}
    if options.environment and not options.environments and not chosen and len(named) == 1:
        chosen = {named.pop(): options.environment}
    for name in chosen:
        if name not in named and not rows["features"]:
            faults.add("environments", f"the document says nothing about {name}")
    depends = {
        row["feature"]: row.get("dependencies") or [] for row in _rows(document, "dependencies", faults)
        if isinstance(row.get("feature"), str)
    }  # fmt: skip
    linked: dict[Any, list[Any]] = {}
    for row in _rows(document, "featureStrategySegments", faults):
        linked.setdefault(str(row.get("featureStrategyId")), []).append(row.get("segmentId"))
    found: dict[str, Mapping[str, Any]] = {}
    for source, target in chosen.items():
        states = {str(r.get("featureName")): r for r in rows["featureEnvironments"] if r.get("environment") == source}
        features = []
        for feature in rows["features"]:
            called = feature.get("name")
            name = called if isinstance(called, str) else ""
            state = states.get(name, {})
            features.append({
                **feature,
                "enabled": state.get("enabled", False),
                "variants": state.get("variants") or feature.get("variants") or [],
                "dependencies": depends.get(name, []),
                "strategies": [
                    {
                        **row,
                        "name": row.get("strategyName", row.get("name")),
                        "segments": row.get("segments") or linked.get(str(row.get("id")), []),
                    }
                    for row in rows["featureStrategies"]
                    if row.get("featureName") == name and row.get("environment") == source
                ],
            })  # fmt: skip
        found[target] = {"features": features, "segments": document.get("segments")}
    return found


def _rows(document: Mapping[str, Any], name: str, faults: Faults) -> list[Mapping[str, Any]]:
    rows = document.get(name) or []
    if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
        faults.add(name, "must be a list of objects")
        return []
    return rows
