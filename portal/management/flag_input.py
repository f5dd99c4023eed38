"""What a command line of `manage.py flag` says: the fields to set, the context to explain."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from portal.audit import Actor
from portal.management.console import given_text, misused
from rollouts.api.contexts import fault_of
from rollouts.engine import reading
from rollouts.engine.types import TARGETING_KEY
from rollouts.models import Flag, FlagConfig


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asks, and the options of the verb."""

    by: Actor
    options: Mapping[str, Any]


def given(asked: Asked) -> dict[str, Any]:
    """The fields to set, from --config and FIELD=VALUE."""
    fields: dict[str, Any] = {}
    if asked.options["config"] is not None:
        fields = _json(given_text(asked.options["config"]), "--config")
        if not isinstance(fields, dict):
            raise misused("--config: must be a JSON object")
    for pair in asked.options["fields"]:
        name, value = _pair(pair, "FIELD=VALUE")
        if name in fields:
            raise misused(f"{name}: given twice")
        fields[name] = value
    share = [asked.options[name] for name in ("serve", "rollout", "by")]
    if any(one is not None for one in share):
        if asked.options["environment"] is None:
            raise misused("--serve, --rollout and --by: in which --environment?")
        if "fallthrough" in fields:
            raise misused("fallthrough: given twice, as a field and by --serve, --rollout or --by")
    elif not fields:
        raise misused("set what? FIELD=VALUE, --serve, --rollout or --config")
    for path, message in reading.json_faults(fields, ""):
        raise misused(f"{path or 'the input'}: {message}")
    return fields


def fallthrough(asked: Asked, flag: Flag, config: FlagConfig) -> dict[str, Any]:
    """What --serve, --rollout and --by say; without --serve the variant that is served now."""
    named, rollout, by = (asked.options[name] for name in ("serve", "rollout", "by"))
    if named is None and rollout is None and by is None:
        return {}
    variant = named or config.fallthrough.get("variant")
    if named is None and variant in (None, config.off_variant):
        others = [key for key in flag.variant_keys() if key != config.off_variant]
        if len(others) != 1:
            raise misused(f"--serve: which variant? The flag has {', '.join(flag.variant_keys())}")
        variant = others[0]
    serve: dict[str, Any] = {"variant": variant}
    serve |= {} if rollout is None else {"rollout": rollout}
    serve |= {} if by is None else {"by": by}
    return {"fallthrough": serve}


def context(asked: Asked) -> dict[str, Any]:
    """From --context, --attr and --unit."""
    found: Any = {}
    if asked.options["context"] is not None:
        found = _json(given_text(asked.options["context"]), "--context")
    if isinstance(found, dict):
        found |= dict(_pair(pair, "--attr") for pair in asked.options["attr"])
        if asked.options["unit"] is not None:
            found[TARGETING_KEY] = asked.options["unit"]
    fault = fault_of(found)
    if fault:
        raise misused(f"{fault[0]}: {fault[1]}")
    return dict(found)


def _pair(pair: str, what: str) -> tuple[str, Any]:
    name, equals, value = pair.partition("=")
    if not equals or not name:
        raise misused(f"{what}: {pair!r} is not NAME=VALUE")
    try:
        return name, json.loads(value, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return name, value


def _json(text: str, what: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise misused(f"{what}: is not JSON: {error}") from None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
