"""Unleash's published client specification, every case, by way of the importer, the database and the engine.

Each file's state is imported as its users would import it; each of its cases is then evaluated from the snapshot that
the portal serves. Two things are said here, because they are not what Unleash does:

- A strategy that throws dice for each call (file 05, and `stickiness: random`) keeps each unit on its side here: it is
  decided by the portal's own hash. File 05 asks for 0 % and 100 % only, where both give the same; the shares between
  are tested below, over many units.
- An operator that Unleash does not know (file 13) makes its clients answer "off". Here an import is refused, unless it
  is told to leave out what is unknown; so is the specification imported.
"""

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from portal.errors import Invalid
from portal.models import Environment
from rollouts import snapshots
from rollouts.actions import configuration
from rollouts.engine.evaluate import evaluate
from rollouts.engine.types import Result
from rollouts.importers import unleash
from rollouts.importers.naming import key_of
from rollouts.importers.options import LEAVE_OUT, Options
from rollouts.models import Flag
from tests import make, suites

pytestmark = pytest.mark.django_db
FILES = [
    "01-simple-examples", "02-user-with-id-strategy", "03-gradual-rollout-user-id-strategy",
    "04-gradual-rollout-session-id-strategy", "05-gradual-rollout-random-strategy", "06-remote-address-strategy",
    "07-multiple-strategies", "08-variants", "09-strategy-constraints", "10-flexible-rollout-strategy",
    "11-strategy-constraints-edge-cases", "12-custom-stickiness", "13-constraint-operators",
    "14-constraint-semver-operators", "15-global-constraints", "16-strategy-variants", "17-dependent-features",
    "18-utf8-flag-names", "21-regex-constraint-operators", "22-cidr-constraint-operators",
]  # fmt: skip
CASES = 275


def specification(name: str) -> Any:
    return json.loads((suites.file("unleash-client-specification") / f"{name}.json").read_text())


def translated(given: Mapping[str, Any]) -> dict[str, Any]:
    """An Unleash context as OpenFeature sends it: the user is the targeting key, properties are attributes."""
    context = {name: value for name, value in given.items() if name != "properties"}
    if "userId" in context:
        context["targetingKey"] = context.pop("userId")
    return {**context, **given.get("properties", {})}


def imported(name: str) -> Environment:
    place = make.environment("production")
    wanted = unleash.translate(specification(name)["state"], Options(environment=place.key, unknown=LEAVE_OUT))
    configuration.apply(wanted, by=make.BY, because="the specification")
    return place


def answer(place: Environment, name: str, context: Mapping[str, Any]) -> Result:
    key = key_of(name)
    return evaluate(snapshots.fresh(place, key), key, translated(context), now=time.time())


def is_on(result: Result) -> bool:
    return result.error is None and result.variant != "off"


def shown(result: Result, payload_type: str | None) -> dict[str, Any]:
    """Our answer in the words of Unleash's `getVariant`."""
    if not is_on(result) or result.variant == "on":
        return {"name": "disabled", "enabled": False, "feature_enabled": is_on(result)}
    found: dict[str, Any] = {"name": result.variant, "enabled": True, "feature_enabled": True}
    if payload_type is not None:
        value = f"{result.value:g}" if payload_type == "number" else result.value
        found["payload"] = {"type": payload_type, "value": value}
    return found


def wrong(name: str) -> Iterator[str]:
    """The cases of a file that do not answer as they must, in words."""
    suite, place = specification(name), imported(name)
    for case in suite.get("tests", ()):
        result = answer(place, case["toggleName"], case["context"])
        if is_on(result) is not case["expectedResult"]:
            yield f"{case['description']}: {result}"
    for case in suite.get("variantTests", ()):
        result = answer(place, case["toggleName"], case["context"])
        wanted = case["expectedResult"]
        if shown(result, wanted.get("payload", {}).get("type")) != wanted:
            yield f"{case['description']}: {result}, not {wanted}"


@pytest.mark.parametrize("name", FILES)
def test_every_case_of_the_file_answers_as_published(name: str) -> None:
    assert not list(wrong(name))


def test_no_file_and_no_case_is_left_out() -> None:
    there = sorted(path.stem for path in suites.file("unleash-client-specification").glob("[0-9]*.json"))
    assert there == FILES
    counted = [len(suite.get("tests", ())) + len(suite.get("variantTests", ())) for suite in map(specification, FILES)]
    assert sum(counted) == CASES


def test_names_that_are_no_keys_are_translated_and_said() -> None:
    imported("18-utf8-flag-names")
    flag = Flag.objects.get(key__startswith="Feature.UTF-8.Hell")
    assert flag.key != "Feature.UTF-8.Hellø_Wørld"
    assert "(in Unleash: Feature.UTF-8.Hellø_Wørld)" in flag.description


def test_what_is_unknown_is_refused_with_flag_field_and_operator_unless_it_is_to_be_left_out() -> None:
    make.environment("production")
    wanted = unleash.translate(specification("13-constraint-operators")["state"], Options(environment="production"))
    with pytest.raises(Invalid) as caught:
        configuration.apply(wanted, by=make.BY)
    path = "features.F7.invalid-operator.strategies[0].constraints[0].operator"
    assert caught.value.errors == {path: "NOT_A_VALID_OPERATOR is no operator of Unleash that is known here"}
    assert not Flag.objects.exists()


@pytest.mark.parametrize("percentage", [1, 25, 50, 90])
def test_where_unleash_throws_dice_the_share_is_kept_and_each_unit_stays(percentage: int) -> None:
    strategy = {"name": "gradualRolloutRandom", "parameters": {"percentage": str(percentage)}}
    state = {"features": [{"name": "dice", "enabled": True, "strategies": [strategy]}]}
    place = make.environment("production")
    wanted = unleash.translate(state, Options(environment=place.key))
    assert "dice" in wanted.flags[0].warnings[0]
    configuration.apply(wanted, by=make.BY)
    shot = snapshots.fresh(place, "dice")
    on = [is_on(evaluate(shot, "dice", {"targetingKey": f"u{n}"}, now=0.0)) for n in range(20_000)]
    deviation = (percentage / 100 * (1 - percentage / 100) / len(on)) ** 0.5
    assert abs(sum(on) / len(on) - percentage / 100) < 5 * deviation
    again = [is_on(evaluate(shot, "dice", {"targetingKey": f"u{n}"}, now=9.0)) for n in range(20_000)]
    assert again == on
