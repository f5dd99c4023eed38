"""What is kept of what users send along: never the attributes that are to be masked."""

import hashlib
import re
from collections.abc import Collection, Mapping
from functools import lru_cache
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


def pseudonym_of_address(unit: str, *, masked: frozenset[str]) -> str:
    """The unit; where e-mail addresses are masked and it looks like one, a name that leads nobody back to it."""
    return pseudonym(unit, by="email", masked=masked) if _ADDRESS.search(unit) else unit


_ADDRESS = re.compile(r"\S@\S")  # wider than what is looked for in texts: bob@localhost is one, too
_EMAIL = re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")
_CREDENTIALS = re.compile(r"\b(Bearer|Basic)(\s+)[\w.~+/=-]{6,}", re.IGNORECASE)
_LOGIN = re.compile(r"(?<=://)[^\s/@]{1,200}(?=@)")


def mask_text(text: str, names: frozenset[str]) -> str:
    """Text such as a message or a stack, without what stands after a masked name (`password=…`, `"token": "…"`).

    Logins in URLs and credentials of HTTP go, too, and e-mail addresses where `email` is masked. What has no name
    beside it cannot be known for a secret.
    """
    masked = _named(names).sub(_without_value, text) if names else text
    masked = _CREDENTIALS.sub(rf"\1\2{MASKED}", _LOGIN.sub(MASKED, masked))
    return _EMAIL.sub(MASKED, masked) if "email" in names else masked


@lru_cache(maxsize=16)
def _named(names: frozenset[str]) -> re.Pattern[str]:
    """A masked name, also at the end of a longer one (`access_token`), and the value behind it."""
    words = "|".join(re.escape(name).replace("_", "[_-]?") for name in sorted(names, key=len, reverse=True))
    value = r"(?:(?:bearer|basic)\s+)?(?:\"[^\"\n]*\"|'[^'\n]*'|[^\s,;&)\]}\"']+)"
    return re.compile(
        rf"(?P<name>\b[\w.-]{{0,40}}?(?:{words}))(?P<between>[\"']?\s{{0,4}}(?:=>|[:=])\s{{0,4}})"
        rf"(?![\"']?{re.escape(MASKED)})(?P<value>{value})",
        re.IGNORECASE,
    )


def _without_value(found: re.Match[str]) -> str:
    quote = found["value"][0] if found["value"][0] in "\"'" else ""
    return f"{found['name']}{found['between']}{quote}{MASKED}{quote}"


def _plain(name: str) -> str:
    return name.casefold().replace("-", "_")
