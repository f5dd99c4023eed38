"""Reading the configuration of a source that is asked over the network."""

import re
from collections.abc import Collection, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from monitoring.channels import fields
from monitoring.channels.http import check_address
from portal.errors import Invalid

# How the secret is presented.
AUTH: Final = ("", "bearer", "basic", "header")
# RFC 9110: the characters of a header's name; its value carries no line ends.
TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}\Z")
MOST_HEADERS: Final = 20
LONGEST: Final = 1000  # characters
# What the request itself or the secret says.
OURS: Final = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "authorization", "accept-encoding"}
)
HTTP: Final = ("url", "auth", "user", "auth_header", "headers", "verify")

only = fields.only
yes_or_no = fields.yes_or_no


def http(config: Mapping[str, Any], *more: str) -> dict[str, Any]:
    """The address, and how the secret is presented: `auth` bearer, basic (with `user`) or header (`auth_header`)."""
    only(config, (*HTTP, *more))
    made: dict[str, Any] = {"url": check_address(config.get("url"))}
    auth = config.get("auth") or ""
    if auth not in AUTH:
        raise Invalid.of("auth", f"must be one of {', '.join(AUTH[1:])}, or empty")
    if auth:
        made["auth"] = auth
    for name, only_with in (("user", "basic"), ("auth_header", "header")):
        value = text(config, name)
        if auth == only_with and not value:
            raise Invalid.of(name, f"is needed with auth {only_with}")
        if value and auth != only_with:
            raise Invalid.of(name, f"is for auth {only_with}")
        if value:
            made[name] = value
    if "auth_header" in made:
        _header(made["auth_header"], "auth_header")
    if headers := config.get("headers"):
        made["headers"] = _headers(headers)
    return made | yes_or_no(config, "verify")


def text(config: Mapping[str, Any], name: str) -> str:
    value = config.get(name)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > LONGEST or "\0" in value:
        raise Invalid.of(name, f"must be a text of at most {LONGEST} characters")
    return value


def whole(config: Mapping[str, Any], name: str, *, least: int, most: int, otherwise: int | None = None) -> int:
    value = config.get(name, otherwise)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise Invalid.of(name, f"must be a whole number from {least} to {most}")
    return value


def one_of(config: Mapping[str, Any], name: str, known: Collection[str], otherwise: str) -> str:
    value = config.get(name) or otherwise
    if value not in known:
        raise Invalid.of(name, f"must be one of {', '.join(known)}")
    return str(value)


def place(url: str) -> str:
    """Who is asked: host and port."""
    return urlsplit(url).netloc


def _headers(given: Any) -> dict[str, str]:
    if not isinstance(given, Mapping) or len(given) > MOST_HEADERS:
        raise Invalid.of("headers", f"must be an object of at most {MOST_HEADERS} headers")
    for name, value in given.items():
        _header(name, f"headers.{str(name)[:50]}")
        if not isinstance(value, str) or len(value) > LONGEST or not value.isprintable() or not value.isascii():
            raise Invalid.of(f"headers.{name}", f"must be at most {LONGEST} printable ASCII characters")
    return dict(given)


def _header(name: Any, field: str) -> None:
    if not isinstance(name, str) or not TOKEN.match(name) or name.lower() in OURS:
        raise Invalid.of(field, "is no name of a header that may be set")
