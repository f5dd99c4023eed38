"""Reading a channel's configuration."""

from collections.abc import Collection, Mapping
from typing import Any

from portal.errors import Invalid


def only(config: Mapping[str, Any], known: Collection[str]) -> None:
    """A field that the kind does not know is refused by name."""
    unknown = sorted(set(config) - set(known))
    if unknown:
        raise Invalid(dict.fromkeys(unknown, "unknown field"))


def yes_or_no(config: Mapping[str, Any], name: str) -> dict[str, bool]:
    """The field as it is, when it is there."""
    if config.get(name) is None:
        return {}
    if not isinstance(config[name], bool):
        raise Invalid.of(name, "must be true or false")
    return {name: config[name]}
