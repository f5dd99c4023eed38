"""Whatever a document holds, the importers answer with faults by their fields: they never break, and never hang."""

import copy
import random
from collections.abc import Iterator
from typing import Any

import pytest

from rollouts.engine import documents
from rollouts.engine.reading import Faults
from rollouts.importers import formats
from rollouts.importers.options import LEAVE_OUT, REFUSE, Options
from tests.conformance.test_vendor_sdks import FLAGD, GROWTHBOOK, UNLEASH
from tests.rollouts.importers.test_launchdarkly import FLAGS

JUNK: tuple[Any, ...] = (
    None, True, 0, -1, 1.5, 10**30, "", "x", "\ud800", "0", [], [[]], [None], ["a"], {}, {"a": 1}, {"$ref": "x"},
    {"var": "x"}, {"if": []}, [1, 2, 3], {"$or": []}, "9" * 5000,
)  # fmt: skip
EXPORT = {
    "version": 4,
    "features": [{"name": "a", "type": "release"}, {"name": "b", "variants": []}],
    "featureEnvironments": [{"featureName": "a", "environment": "production", "enabled": True, "variants": []}],
    "featureStrategies": [{
        "featureName": "a", "environment": "production", "strategyName": "flexibleRollout", "id": "s1",
        "parameters": {"rollout": "40", "stickiness": "default", "groupId": "a"}, "constraints": [], "segments": [1],
    }],
    "segments": [{"id": 1, "name": "the few", "constraints": [
        {"contextName": "country", "operator": "IN", "values": ["DE"]},
    ]}],
    "dependencies": [{"feature": "b", "dependencies": [{"feature": "a"}]}],
}  # fmt: skip
DOCUMENTS = [
    ("unleash", UNLEASH),
    ("unleash", EXPORT),
    ("growthbook", GROWTHBOOK | {"savedGroups": {"staff": ["user-1"]}}),
    ("flagd", FLAGD),
    ("launchdarkly", FLAGS),
]


def paths(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for name, one in inner:
        yield from paths(one, (*path, name))


def mutated(document: Any, path: tuple[Any, ...], junk: Any) -> Any:
    if not path:
        return junk
    document = copy.deepcopy(document)
    node = document
    for name in path[:-1]:
        node = node[name]
    node[path[-1]] = copy.deepcopy(junk)
    return document


@pytest.mark.parametrize(("name", "document"), DOCUMENTS, ids=lambda one: one if isinstance(one, str) else "")
def test_junk_in_any_place_is_a_fault_or_nothing(name: str, document: Any) -> None:
    dice = random.Random(4)
    everywhere = list(paths(document))
    for path in everywhere:
        for junk in dice.sample(JUNK, 2):
            for unknown in (REFUSE, LEAVE_OUT):
                options = Options(environment="production", unknown=unknown)
                wanted = formats.translate(name, mutated(document, path, junk), options)
                assert all(isinstance(words, str) for words in wanted.faults.values())


@pytest.mark.parametrize(("name", "document"), DOCUMENTS, ids=lambda one: one if isinstance(one, str) else "")
def test_what_is_translated_without_fault_can_be_written(name: str, document: Any) -> None:
    wanted = formats.translate(name, document, Options(environment="production"))
    assert not wanted.faults
    for flag in wanted.flags:
        faults = Faults()
        variants = documents.read_variants(flag.definition["variants"], flag.definition["value_type"], faults)
        assert not faults
        held: dict[str, Any] = {**dict.fromkeys(documents.EDITABLE), "rules": [], "fallthrough": {}, "enabled": False}
        for config in flag.configs.values():
            read = documents.read_config(config, held, variants=[one["key"] for one in variants], now=0.0)
            assert not read.faults, (flag.key, read.faults)


def test_alternatives_are_bounded() -> None:
    condition = {"$and": [{"$or": [{f"a{n}": 1}, {f"b{n}": 2}]} for n in range(20)]}
    document = {"features": {"x": {"defaultValue": False, "rules": [{"condition": condition, "force": True}]}}}
    wanted = formats.translate("growthbook", document, Options(environment="production"))
    assert wanted.faults == {"features.x.rules[0].condition": "has too many alternatives"}
