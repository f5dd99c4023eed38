"""What the vendors' own SDKs answer. Run by their own Python: a question as JSON on standard input, answers on output.

The question: {"vendor", "document", "flags", "contexts"}; the answer: for each context the answers for all flags.
"""

import json
import logging
import sys
import tempfile
from collections.abc import Callable
from typing import Any

Context = dict[str, Any]
Answers = list[list[Any]]


def unleash(document: Any, flags: list[str], contexts: list[Context]) -> Answers:
    """The client, unmodified, from its bootstrap: nothing is fetched."""
    from UnleashClient import UnleashClient  # noqa: PLC0415
    from UnleashClient.cache import FileCache  # noqa: PLC0415

    cache = FileCache("differential")
    cache.bootstrap_from_dict(document)
    client = UnleashClient("http://127.0.0.1:9", "differential", cache=cache, disable_metrics=True,
                           disable_registration=True, environment="production")  # fmt: skip
    client.initialize_client(fetch_toggles=False)
    answers = []
    for context in contexts:
        row = []
        for flag in flags:
            variant = client.get_variant(flag, dict(context))
            row.append([client.is_enabled(flag, dict(context)), variant["name"] if variant["enabled"] else None])
        answers.append(row)
    client.destroy()
    return answers


def growthbook(document: Any, flags: list[str], contexts: list[Context]) -> Answers:
    from growthbook import GrowthBook  # noqa: PLC0415

    client = GrowthBook(features=document["features"], savedGroups=document.get("savedGroups", {}))
    answers = []
    for context in contexts:
        client.set_attributes(context)
        answers.append([client.eval_feature(flag).value for flag in flags])
    client.destroy()
    return answers


def flagd(document: Any, flags: list[str], contexts: list[Context]) -> Answers:
    """The evaluator that the provider uses in process."""
    from openfeature.contrib.tools.flagd.core import FlagdCore  # noqa: PLC0415
    from openfeature.evaluation_context import EvaluationContext  # noqa: PLC0415

    core = FlagdCore()
    core.set_flags(json.dumps(document))
    answers = []
    for context in contexts:
        attributes = dict(context)
        asked = EvaluationContext(attributes.pop("targetingKey", None), attributes)
        answers.append([core.resolve_string_value(flag, "(code)", asked).variant for flag in flags])
    return answers


def launchdarkly(document: Any, flags: list[str], contexts: list[Context]) -> Answers:
    """The client, unmodified, from a file of flags and segments: no service is asked."""
    from ldclient import Config, LDClient  # noqa: PLC0415
    from ldclient import Context as LDContext  # noqa: PLC0415
    from ldclient.integrations import Files  # noqa: PLC0415

    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(document, file)
        file.flush()
        source = Files.new_data_source(paths=[file.name])
        client = LDClient(Config("differential", update_processor_class=source, send_events=False), start_wait=20)
        answers = []
        for context in contexts:
            asked = LDContext.from_dict(_of_kinds(context, {"org"}))
            answers.append([client.variation(flag, asked, "(code)") for flag in flags])
        client.close()
    return answers


def _of_kinds(context: Context, kinds: set[str]) -> Context:
    """A user, and beside him the other things that the context tells of."""
    user = {name: value for name, value in context.items() if name not in kinds}
    others = {name: value for name, value in context.items() if name in kinds}
    return {"kind": "multi", "user": user, **others} if others else {"kind": "user", **user}


VENDORS: dict[str, Callable[[Any, list[str], list[Context]], Answers]] = {
    "unleash": unleash, "growthbook": growthbook, "flagd": flagd, "launchdarkly": launchdarkly,
}  # fmt: skip

if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    question = json.load(sys.stdin)
    found = VENDORS[question["vendor"]](question["document"], question["flags"], question["contexts"])
    sys.stdout.write(json.dumps(found))
