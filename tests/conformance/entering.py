"""OpenFeature's test flags entered through the portal's own API, as a person with a key would."""

import json
import re
from typing import Any

import httpx

TYPES = {bool: "bool", str: "string", int: "int", float: "float", dict: "json"}


class Portal:
    """The flags' API of a portal, for one environment."""

    def __init__(self, url: str, key: str, environment: str) -> None:
        self.environment = environment
        self.http = httpx.Client(
            base_url=f"{url}/api/v1", headers={"Authorization": f"Bearer {key}"}, timeout=60, trust_env=False
        )

    def enter(self, key: str, variants: dict[str, Any], config: dict[str, Any]) -> None:
        kinds = {TYPES[type(value)] for value in variants.values()}
        (value_type,) = kinds
        told = [{"key": name, "value": value} for name, value in variants.items()]
        body = {"key": key, "type": "boolean" if value_type == "bool" else "user_group", "value_type": value_type}
        self._ok(self.http.post("/flags/", json={**body, "variants": told}))
        self._ok(self.http.put(f"/flags/{key}/environments/{self.environment}/", json=config))

    def _ok(self, answer: httpx.Response) -> None:
        assert answer.is_success, f"{answer.request.url}: {answer.status_code} {answer.text}"


def flags_in(text: str) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """Each flag of the file as variants and config. One without a default variant has no counterpart here."""
    found = {}
    for key, flag in json.loads(text).items():
        default = flag.get("defaultVariant")
        if default is None:
            continue
        rules = []
        if "contextEvaluator" in flag:
            wanted, variant = re.fullmatch(r"(.*) \? '(.+)' : ''", flag["contextEvaluator"]).groups()  # type: ignore[union-attr]
            conditions = [condition(one) for one in wanted.split(" && ")]
            rules = [{"id": "targeted", "all": conditions, "serve": {"variant": variant}}]
        found[key] = (
            flag["variants"],
            {
                "enabled": not flag.get("disabled", False),
                # The file does not say what a disabled flag serves: here it is the variant that is not the default.
                "off_variant": next(one for one in flag["variants"] if one != default),
                "rules": rules,
                "fallthrough": {"variant": default},
            },
        )
    return found


def condition(said: str) -> dict[str, Any]:
    """One comparison in the file's words."""
    if said.startswith("!"):
        return {"attr": said[1:], "op": "equals", "values": [True], "negate": True}
    attr, operator, value = said.split(" ", 2)
    return {
        "attr": attr,
        "op": {"==": "equals", ">": "gt"}[operator],
        "values": [json.loads(value.replace("'", '"'))],
    }
