"""OpenFeature's own scenarios: its flags entered through the API, evaluated by the unmodified Python client."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import make, suites
from tests.conformance import scenarios
from tests.conformance.entering import Portal, condition, flags_in
from tests.conformance.openfeature_steps import World, entry_flag, steps
from tests.conformance.test_openfeature_client import known
from tests.web import Web

pytestmark = pytest.mark.django_db(transaction=True)

NOT_READY = "the OFREP provider of Python is ready as soon as it is made, and never anything else"
NO_DEFAULT = "OFREP's list of reasons has no DEFAULT: a fallthrough without a hash is STATIC; the values are right"
OWN_METADATA = "a flag's metadata are the portal's own (reasonDetail, revision, environment, ruleId)"
DEFAULT = 'the reason should be "DEFAULT"'
# Where the portal or the client differ: (scenario, its first step that does not hold): how often, and why.
EXPECTED: dict[str, dict[tuple[str, str], tuple[int, str]]] = {
    "evaluation.feature": {},
    "contextMerging.feature": {},
    "evaluation_v2.feature": {
        ("Resolves zero value with targeting using default", DEFAULT): (5, NO_DEFAULT),
        ("Empty evaluation context", DEFAULT): (5, NO_DEFAULT),
        ("Null context values", DEFAULT): (5, NO_DEFAULT),
        ("Provider not ready error", "a not ready provider"): (5, NOT_READY),
        ("Provider in fatal state error", "a fatal provider"): (5, NOT_READY),
        ("Provider status accessibility", "a not ready provider"): (1, NOT_READY),
        ("Provider status accessibility", "a error provider"): (1, NOT_READY),
        ("Provider status accessibility", "a fatal provider"): (1, NOT_READY),
        ("Provider status accessibility", "a stale provider"): (1, NOT_READY),
        ("CACHED reason", 'the reason should be "CACHED"'): (2, "the OFREP provider of Python keeps no answers"),
        ("Type mismatch error", 'the resolved details value should be "1"'): (1, "to Python True is a whole number"),
        ("DISABLED reason", 'the resolved details value should be "{\\"a\\": 1}"'): (
            1,
            "a disabled flag serves its off variant, and the file has none of this value",
        ),
        ("Evaluation context immutability", "the evaluation details should be immutable"): (
            1,
            "the client's details can be changed",
        ),
        ("Flag metadata in evaluation details", "the resolved metadata should contain"): (1, OWN_METADATA),
    },
    "metadata.feature": {
        ("Returns metadata", "the resolved metadata should contain"): (1, OWN_METADATA),
        ("Returns no metadata", "the resolved metadata is empty"): (4, OWN_METADATA),
    },
}
ENTRY = re.compile('The merged context contains an entry with key "(.*)" and value "(.*)"')
SCENARIOS = {"evaluation.feature": 13, "evaluation_v2.feature": 82, "contextMerging.feature": 29, "metadata.feature": 5}


@pytest.fixture
def folder() -> Path:
    return suites.file("openfeature-spec")


@pytest.fixture
def web(folder: Path) -> Iterator[Web]:
    with Web() as running:
        yield running


def enter(folder: Path, portal: Portal, entries: set[tuple[str, str]]) -> None:
    """OpenFeature's flags, and one for each context entry of which a scenario asks whether it arrives."""
    for key, (variants, config) in flags_in((folder / "test-flags.json").read_text(encoding="utf-8")).items():
        portal.enter(key, variants, config)
    # The first edition's flag, which the second edition's file no longer has.
    insiders = "fn == 'Sulisław' && ln == 'Świętopełk' && age == 29 && customer == false"
    rule = {"id": "insiders", "all": [condition(one) for one in insiders.split(" && ")], "serve": {"variant": "in"}}
    portal.enter(
        "context-aware",
        {"in": "INTERNAL", "out": "EXTERNAL"},
        {"enabled": True, "off_variant": "out", "rules": [rule], "fallthrough": {"variant": "out"}},
    )
    for key, value in entries:
        rules = [{"all": [{"attr": key, "op": "equals", "values": [value]}], "serve": {"variant": "on"}}]
        config = {"enabled": True, "off_variant": "off", "rules": rules}
        portal.enter(entry_flag(key, value), {"on": True, "off": False}, config)


def test_every_scenario_holds_but_those_named(folder: Path, web: Web) -> None:
    place = make.environment("production")
    read = {feature: scenarios.read(folder / feature) for feature in EXPECTED}
    said = [step["text"] for one in read["contextMerging.feature"] for step in one["steps"]]
    entries = {(match[1], match[2]) for text in said if (match := ENTRY.fullmatch(text))}
    enter(folder, Portal(web.url, make.key("write"), place.key), entries)
    World.url, World.key = web.url, make.key("evaluate", environments=[place])
    known(web, World.key, "context-aware")
    for key, value in entries:
        known(web, World.key, entry_flag(key, value))
    for feature, expected in EXPECTED.items():
        outcome = scenarios.run(read[feature], steps, World)
        failing = Counter({where: times for where, (times, _) in expected.items()})
        assert outcome.failed == failing, "\n".join(outcome.words)
        assert outcome.passed == SCENARIOS[feature] - failing.total()
