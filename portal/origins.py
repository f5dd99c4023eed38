"""Origins of web pages (scheme, host and port, as browsers name them), and which of them a key may be used from."""

import re
from collections.abc import Iterable

from portal.errors import Invalid

LONGEST = 300
MOST = 50
DEFAULT_PORTS = {"http": ":80", "https": ":443"}
_HOST = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
# A wildcard stands for one or more labels before a name of at least two: `*.com` would be half the world.
_ORIGIN = re.compile(
    rf"(https?)://((?:{_HOST}\.)*{_HOST}|\*\.(?:{_HOST}\.)+{_HOST}|\[[0-9a-f:.]+\])(:[1-9][0-9]{{0,4}})?/?\Z"
)


def clean(given: Iterable[str]) -> list[str]:
    """The origins as browsers write them, each once: lower case, without a default port. Raises Invalid naming one."""
    made: dict[str, None] = {}
    for raw in given:
        found = _ORIGIN.match(raw.strip().lower()) if len(raw) <= LONGEST else None
        if found is None:
            shown = raw[:100].encode("ascii", "backslashreplace").decode()
            raise Invalid.of(
                "origins",
                f"'{shown}' is no origin: https://shop.example.com, https://*.example.com or http://localhost:3000, "
                "without a path, the host in ASCII",
            )
        scheme, host, port = found.groups("")
        made[f"{scheme}://{host}{'' if port == DEFAULT_PORTS[scheme] else port}"] = None
    if len(made) > MOST:
        raise Invalid.of("origins", f"at most {MOST}, not {len(made)}")
    return list(made)


def allows(origins: Iterable[str], origin: str) -> bool:
    """Whether a page of this origin is among them. `null` (a sandboxed or local page) never is."""
    for one in origins:
        if one == origin:
            return True
        before, star, after = one.partition("*")
        if star and origin.startswith(before) and origin.endswith(after) and len(origin) > len(one) - 1:
            return True
    return False
