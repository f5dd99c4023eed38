"""The steps of OpenFeature's feature files, done with the Python client as it is."""

import asyncio
import copy
import json
from typing import Any

from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.flag_evaluation import FlagEvaluationDetails, FlagEvaluationOptions
from openfeature.hook import Hook, HookContext, HookHints
from openfeature.transaction_context import (
    ContextVarsTransactionContextPropagator,
    set_transaction_context,
    set_transaction_context_propagator,
)

from tests.conformance.scenarios import Steps, Table

READ: dict[str, Any] = {
    "Boolean": lambda text: text == "true",
    "String": str,
    "Integer": int,
    "Float": float,
    "Object": lambda text: json.loads(text.replace('\\"', '"')),
}
LEVELS = ("API", "Transaction", "Client", "Invocation", "Before Hooks")
steps = Steps()


class World:
    """One scenario: a client of its own, what it asked and what it got."""

    url = key = ""

    def __init__(self) -> None:
        api.clear_providers()
        api.clear_hooks()
        api.set_evaluation_context(EvaluationContext())
        set_transaction_context_propagator(ContextVarsTransactionContextPropagator())
        set_transaction_context(EvaluationContext())
        self.client: OpenFeatureClient = api.get_client()
        self.attributes: dict[str, Any] = {}
        self.levels: dict[str, dict[str, Any]] = {level: {} for level in LEVELS}
        self.order: list[str] = list(LEVELS)
        self.type, self.flag, self.fallback = "Boolean", "", ""
        self.options: FlagEvaluationOptions | None = None
        self.heard: list[str] = []
        self.found: FlagEvaluationDetails[Any]

    def evaluate(self, kind: str, flag: str, fallback: Any, context: dict[str, Any] | None = None) -> None:
        self.flag, self.fallback = flag, fallback
        ask = getattr(self.client, f"get_{kind.lower()}_details")
        given = EvaluationContext(attributes=self.attributes if context is None else context)
        self.found = ask(flag, fallback, given, self.options)

    def merged(self, flag: str) -> str | None:
        """What the portal answers when every level has contributed its entries."""
        api.set_evaluation_context(EvaluationContext(attributes=self.levels["API"]))
        set_transaction_context(EvaluationContext(attributes=self.levels["Transaction"]))
        self.client.context = EvaluationContext(attributes=self.levels["Client"])
        options = FlagEvaluationOptions(hooks=[Adding(self.levels["Before Hooks"])])
        invocation = EvaluationContext(attributes=self.levels["Invocation"])
        return self.client.get_boolean_details(flag, False, invocation, options).variant


class Adding(Hook):
    """Adds to the context before the evaluation."""

    def __init__(self, attributes: dict[str, Any]) -> None:
        self.attributes = attributes

    def before(self, hook_context: HookContext, hints: HookHints) -> EvaluationContext:
        return EvaluationContext(attributes=self.attributes)


class Hearing(Hook):
    """Says when it is called."""

    def __init__(self, name: str, heard: list[str]) -> None:
        self.name, self.heard = name, heard

    def before(self, hook_context: HookContext, hints: HookHints) -> None:
        self.heard.append(f"before {self.name}")

    def after(self, hook_context: HookContext, details: FlagEvaluationDetails[Any], hints: HookHints) -> None:
        self.heard.append(f"after {self.name}")


def entry_flag(key: str, value: str) -> str:
    """The flag that is on for a context with this entry."""
    return f"has-{key}-{value}".replace(" ", "_")


def equal(found: object, wanted: object) -> None:
    assert (found, type(found)) == (wanted, type(wanted)), f"it is {found!r}"


# --- Providers ----------------------------------------------------------------------------------
@steps("a (stable|not ready|error|fatal|stale) provider")
def _(world: World, status: str) -> None:
    assert status == "stable", f"the OFREP provider is never {status}"
    # Long beyond what it takes: a slow answer is not what is asked about here.
    provider = OFREPProvider(world.url, headers_factory=lambda: {"Authorization": f"Bearer {world.key}"}, timeout=60)
    api.set_provider(provider)


@steps("a stable provider with retrievable context is registered")
def _(world: World) -> None:
    steps.run(world, {"text": "a stable provider"})


@steps('the provider status should be "(.*)"')
def _(world: World, status: str) -> None:
    equal(world.client.get_provider_status().name, status)


# --- The first edition of the file --------------------------------------------------------------
KINDS = "(boolean|string|integer|float|object)"


def told(kind: str, text: str) -> Any:
    return READ[kind.capitalize()](text.strip('"'))


@steps(f'an? {KINDS} flag with key "(.*)" is evaluated (?:with details and|with) default value (.*)')
def _(world: World, kind: str, flag: str, fallback: str) -> None:
    world.evaluate(kind, flag, told(kind, fallback))


@steps('an object flag with key "(.*)" is evaluated with (?:details and )?a null default value')
def _(world: World, flag: str) -> None:
    world.evaluate("object", flag, None)


@steps(f"the resolved {KINDS} value should be ([^ ]*)")
def _(world: World, kind: str, value: str) -> None:
    equal(world.found.value, told(kind, value))


@steps(
    f'the resolved {KINDS} details value should be (.*), the variant should be "(.*)", and the reason should be "(.*)"'
)
def _(world: World, kind: str, value: str, variant: str, reason: str) -> None:
    equal(world.found.value, told(kind, value))
    equal((world.found.variant, str(world.found.reason)), (variant, reason))


@steps(
    "the resolved object (?:details )?value should be contain fields "
    '"(.*)", "(.*)", and "(.*)", with values "(.*)", "(.*)" and (.*), respectively'
)
def _(world: World, one: str, two: str, three: str, first: str, second: str, third: str) -> None:
    equal(world.found.value, {one: first == "true", two: second, three: int(third)})


@steps('the variant should be "(.*)", and the reason should be "(.*)"')
def _(world: World, variant: str, reason: str) -> None:
    equal((world.found.variant, str(world.found.reason)), (variant, reason))


@steps('context contains keys "(.*)", "(.*)", "(.*)", "(.*)" with values "(.*)", "(.*)", (.*), "(.*)"')
def _(world: World, *said: str) -> None:
    names, values = said[:4], said[4:]
    world.attributes = dict(zip(names, (values[0], values[1], int(values[2]), values[3] == "true"), strict=True))


@steps('a flag with key "(.*)" is evaluated with default value "(.*)"')
def _(world: World, flag: str, fallback: str) -> None:
    world.evaluate("string", flag, fallback)


@steps('the resolved string response should be "(.*)"')
def _(world: World, value: str) -> None:
    equal(world.found.value, value)


@steps('the resolved flag value is "(.*)" when the context is empty')
def _(world: World, value: str) -> None:
    world.evaluate("string", world.flag, world.fallback, context={})
    equal(world.found.value, value)


@steps('a non-existent string flag with key "(.*)" is evaluated with details and a fallback value "(.*)"')
def _(world: World, flag: str, fallback: str) -> None:
    world.evaluate("string", flag, fallback)


@steps('a string flag with key "(.*)" is evaluated as an integer, with details and a fallback value (.*)')
def _(world: World, flag: str, fallback: str) -> None:
    world.evaluate("integer", flag, int(fallback))


@steps("the default (?:string|integer) value should be returned")
def _(world: World) -> None:
    equal(world.found.value, world.fallback)


@steps('the reason should indicate an error and the error code should indicate a (?:.*) with "(.*)"')
def _(world: World, code: str) -> None:
    equal((str(world.found.reason), world.found.error_code and world.found.error_code.value), ("ERROR", code))


# --- The second edition -------------------------------------------------------------------------
@steps('an? (Boolean|String|Integer|Float|Object)-flag with key "(.*)" and a fallback value "(.*)"')
def _(world: World, kind: str, flag: str, fallback: str) -> None:
    world.type, world.flag, world.fallback = kind, flag, READ[kind](fallback)


@steps('a context containing a key "(.*)", with type "(.*)" and with value "(.*)"')
def _(world: World, key: str, kind: str, value: str) -> None:
    world.attributes[key] = READ[kind](value)


@steps('a context containing a key "(.*)" with null value')
def _(world: World, key: str) -> None:
    world.attributes[key] = None


@steps("the flag was evaluated with details(?: using the evaluation options)?")
def _(world: World) -> None:
    world.evaluate(world.type, world.flag, world.fallback)


@steps("the flag was evaluated with details asynchronously")
def _(world: World) -> None:
    ask = getattr(world.client, f"get_{world.type.lower()}_details_async")
    world.found = asyncio.run(ask(world.flag, world.fallback))


@steps("the evaluation should complete without blocking")
def _(world: World) -> None:
    assert world.found.error_code is None


@steps('the resolved details value should be "(.*)"')
def _(world: World, value: str) -> None:
    equal(world.found.value, READ[world.type](value))


@steps('the reason should be "(.*)"')
def _(world: World, reason: str) -> None:
    equal(str(world.found.reason), reason)


@steps('the error-code should be "(.*)"')
def _(world: World, code: str) -> None:
    equal(world.found.error_code and world.found.error_code.value, code)


@steps('the flag key should be "(.*)"')
def _(world: World, key: str) -> None:
    equal(world.found.flag_key, key)


@steps('the variant should be "([^"]*)"')
def _(world: World, variant: str) -> None:
    equal(world.found.variant, variant)


@steps("evaluation options containing specific hooks")
def _(world: World) -> None:
    world.options = FlagEvaluationOptions(hooks=[Hearing("first", world.heard), Hearing("second", world.heard)])


@steps("the specified hooks should execute during evaluation")
def _(world: World) -> None:
    equal(set(world.heard), {"before first", "after first", "before second", "after second"})


@steps("the hook order should be maintained")
def _(world: World) -> None:
    # The order is reversed on the way back.
    equal(world.heard, ["before first", "before second", "after second", "after first"])


@steps("an evaluation context with modifiable data")
def _(world: World) -> None:
    world.attributes = {"list": [1, 2], "nested": {"a": 1}}
    world.levels["Invocation"] = copy.deepcopy(world.attributes)


@steps("the original evaluation context should remain unmodified")
def _(world: World) -> None:
    equal(world.attributes, world.levels["Invocation"])


@steps("the evaluation details should be immutable")
def _(world: World) -> None:
    try:
        world.found.value = "another"
    except AttributeError:
        return
    raise AssertionError("the client lets its details be changed")


# --- Metadata -----------------------------------------------------------------------------------
@steps("the resolved metadata should contain")
def _(world: World, table: Table) -> None:
    for key, kind, value in table[1:]:
        equal(world.found.flag_metadata.get(key), READ[kind](value))


@steps("the resolved metadata is empty")
def _(world: World) -> None:
    equal(dict(world.found.flag_metadata), {})


# --- Contexts that are merged -------------------------------------------------------------------
@steps('A context entry with key "(.*)" and value "(.*)" is added to the "(.*)" level')
def _(world: World, key: str, value: str, level: str) -> None:
    world.levels[level][key] = value


@steps("A table with levels of increasing precedence")
def _(world: World, table: Table) -> None:
    world.order = [row[0] for row in table]


@steps('Context entries for each level from API level down to the "(.*)" level, with key "(.*)" and value "(.*)"')
def _(world: World, last: str, key: str, _value: str) -> None:
    for level in world.order[: world.order.index(last) + 1]:
        world.levels[level][key] = level


@steps("Some flag was evaluated")
def _(world: World) -> None:
    assert world.merged("boolean-flag") == "on"


@steps('The merged context contains an entry with key "(.*)" and value "(.*)"')
def _(world: World, key: str, value: str) -> None:
    """Nothing but the context decides this flag: that it is on says what has reached the portal."""
    equal(world.merged(entry_flag(key, value)), "on")
