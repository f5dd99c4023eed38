"""What is kept of what users send along: never the attributes that are to be masked."""

import hashlib
from collections.abc import Collection, Mapping
from typing import Any

from django.conf import settings

MASKED = "[masked]"


def names_of(given: Collection[str]) -> frozenset[str]:
    """Names as they are compared: whatever their case, `-` and `_`."""
    return frozenset(_plain(name) for name in given)


def mask(document: Mapping[str, Any], names: frozenset[str], path: str = "") -> dict[str, Any]:
    """The document without the values of masked attributes, at any depth.

    A name masks every attribute of that name; a path such as company.phone masks that one alone.
    """
    kept: dict[str, Any] = {}
    for name, value in document.items():
        plain = _plain(name)
        where = f"{path}.{plain}" if path else plain
        kept[name] = MASKED if plain in names or where in names else _mask_inside(value, names, where)
    return kept


def _mask_inside(value: Any, names: frozenset[str], path: str) -> Any:
    if isinstance(value, Mapping):
        return mask(value, names, path)
    if isinstance(value, list):
        return [_mask_inside(one, names, path) for one in value]
    return value


def is_masked(attribute: str, names: frozenset[str]) -> bool:
    """Whether an attribute, or a path to one, leads to something masked."""
    parts = _plain(attribute).split(".")
    return any(part in names for part in parts) or any(".".join(parts[:n]) in names for n in range(1, len(parts) + 1))


def pseudonym(unit: str, *, by: str, masked: frozenset[str]) -> str:
    """The unit; where the attribute that names it is masked, a name that leads nobody back to it."""
    if unit and is_masked(by, masked):
        return f"masked-{hashlib.sha256(f'{settings.SECRET_KEY}{unit}'.encode()).hexdigest()[:24]}"
    return unit


def _plain(name: str) -> str:
    return name.casefold().replace("-", "_")
