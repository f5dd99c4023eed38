"""A LaunchDarkly export: targets, rules, rollouts, segments and prerequisites, as they decide there."""

import time
from typing import Any

import pytest

from rollouts import snapshots
from rollouts.actions import configuration
from rollouts.engine import hashing
from rollouts.engine.evaluate import evaluate
from rollouts.importers import launchdarkly
from rollouts.importers.options import Options
from tests import make


def rollout(*weights: int, **more: Any) -> dict[str, Any]:
    return {"rollout": {"variations": [{"variation": n, "weight": one} for n, one in enumerate(weights)], **more}}


def clause(attribute: str, op: str, *values: Any, **more: Any) -> dict[str, Any]:
    return {"attribute": attribute, "op": op, "values": list(values), "negate": False, **more}


FLAGS: dict[str, Any] = {
    "flags": {
        "search": {
            "key": "search", "name": "New search", "kind": "multivariate",
            "variations": [{"value": "old", "name": "old"}, {"value": "new", "name": "The new one"}, {"value": "beta"}],
            "environments": {
                "production": {
                    "on": True, "salt": "pepper", "offVariation": 0, "archived": False,
                    "targets": [{"values": ["ann", "bob"], "variation": 2}], "contextTargets": [],
                    "rules": [
                        {"_id": "r1", "variation": 1, "clauses": [
                            clause("email", "endsWith", "@example.com"), clause("age", "lessThan", 20, 30),
                        ]},
                        {"_id": "r2", "clauses": [clause("", "segmentMatch", "staff")],
                         **rollout(20_000, 30_000, 50_000, bucketBy="company")},
                        {"_id": "r3", "clauses": [clause("version", "semVerEqual", "1.0.0", "2.0.0", negate=True)],
                         "variation": 2},
                    ],
                    "fallthrough": rollout(60_000, 40_000),
                    "prerequisites": [{"key": "basis", "variation": 0}],
                },
            },
        },
        "basis": {
            "key": "basis", "variations": [{"value": True}, {"value": False}],
            "environments": {"production": {
                "on": True, "salt": "s", "offVariation": 1, "rules": [], "targets": [], "prerequisites": [],
                "fallthrough": {"variation": 0},
            }},
        },
    },
    "segments": {
        "staff": {"key": "staff", "name": "Staff", "included": ["carl"], "excluded": ["dora"], "rules": [
            {"clauses": [clause("team", "in", "core", "ops")]},
            {"clauses": [clause("joined", "before", 1_600_000_000_000)]},
        ]},
    },
}  # fmt: skip


@pytest.mark.django_db
def test_everyone_gets_what_he_gets_there() -> None:
    place = make.environment("production")
    wanted = launchdarkly.translate(FLAGS, Options(environment=place.key))
    configuration.apply(wanted, by=make.BY)
    shot = snapshots.fresh(place, "search")

    def got(**context: Any) -> Any:
        context["targetingKey"] = context.pop("key")
        return evaluate(shot, "search", context, now=time.time()).value

    assert got(key="ann") == "beta"
    assert got(key="x", email="x@example.com", age=29) == "new"
    assert got(key="x", version="3.0.0") == "beta"
    # By company, with the flag's key and salt.
    for unit in ("c1", "c2", "c3", "c4", "c5"):
        fraction = hashing.sha1_fraction(f"search.pepper.{unit}")
        expected = "old" if fraction < 0.2 else "new" if fraction < 0.5 else "beta"
        assert got(key="carl", company=unit) == expected
        assert got(key="y", team="ops", company=unit) == expected
        assert got(key="y", joined="2019-01-01T00:00:00Z", company=unit) == expected
    assert got(key="carl") == "old"  # without a company the first, as there
    assert {got(key=f"u{n}") for n in range(50)} == {"old", "new"}
    for n in range(200):
        fraction = hashing.sha1_fraction(f"search.pepper.u{n}")
        assert got(key=f"u{n}", version="1.0.0") == ("old" if fraction < 0.6 else "new")
        assert got(key="dora", team="ops", version="2.0.0") in ("old", "new")


def test_what_cannot_be_translated_is_refused_by_its_field() -> None:
    document = {
        "flags": [{
            "key": "x", "variations": [{"value": True}, {"value": False}], "on": True, "salt": "s",
            "fallthrough": {"variation": 7},
            "contextTargets": [{"contextKind": "multi", "values": ["a"], "variation": 0}],
            "rules": [{"variation": 0, "clauses": [clause("a", "in", "b", contextKind="my device")]},
                      {"clauses": [], **rollout(200_000, -1)}],
        }],
        "segments": [{"key": "s", "rules": [{"clauses": [], "weight": 5000}]}, {"key": "big", "unbounded": True}],
    }  # fmt: skip
    wanted = launchdarkly.translate(document, Options(environment="production"))
    assert wanted.faults.keys() >= {
        "flags.x.fallthrough.variation", "flags.x.contextTargets[0].contextKind",
        "flags.x.rules[0].clauses[0].contextKind", "flags.x.rules[1].rollout.variations[0].weight",
        "segments.s.rules[0].weight", "segments.big.unbounded",
    }  # fmt: skip
