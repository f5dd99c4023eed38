"""The simulated service as the portal's page talks to it: on the loopback address, with the token of its file."""

import ipaddress
import json
from typing import Any
from urllib.parse import urlsplit

import httpx
from django.conf import settings

from portal.demo import scene
from portal.errors import Invalid, Refused

TIMEOUT = 3.0  # seconds
NOT_THERE = "the simulated shop does not answer: it runs only with `up`, while the demo is loaded"


def state() -> dict[str, Any] | None:
    """What the service says of itself; None when it does not run."""
    try:
        return _ask("GET", "/state")
    except Refused:
        return None


def inject(wanted: dict[str, Any]) -> dict[str, Any]:
    """Change what its customers meet. Returns its state."""
    return _ask("POST", "/inject", wanted)


def _ask(method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    url, token = _address()
    try:
        with httpx.Client(timeout=TIMEOUT, trust_env=False) as client:
            answer = client.request(method, url + path, json=body, headers={"Authorization": f"Bearer {token}"})
            said = answer.json()
    except (httpx.HTTPError, ValueError):
        raise Refused(NOT_THERE) from None
    if answer.status_code == 400:
        raise Invalid.of("", str(said.get("detail", "")))
    if answer.status_code != 200 or not isinstance(said, dict):
        raise Refused(NOT_THERE)
    return said


def _address() -> tuple[str, str]:
    """From its file. Whatever stands there, nobody but this machine is asked."""
    try:
        held = json.loads((settings.DATA_DIR / scene.CONTROL_FILE).read_text(encoding="utf-8"))
        url, token = str(held["url"]), str(held["token"])
        if ipaddress.ip_address(urlsplit(url).hostname or "").is_loopback:
            return url, token
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise Refused(NOT_THERE)
