"""The API keys of the simulated service: in a file of the data directory that only its owner reads."""

import json
import os
from pathlib import Path
from typing import Any

from portal import keys
from portal.audit import Automaton
from portal.demo import pages, scene
from portal.management.demo.cast import AUTOMATON
from portal.models import ApiKey, Environment, Service

NAMES = {"evaluate": "demo shop: flags", "ingest": "demo shop: metrics", "feedback": "demo shop: feedback"}
NAMES |= {"browser": "demo shop: pages", "write": "demo shop: release train"}
BY = Automaton(AUTOMATON)


def ensure(data_dir: Path) -> bool:
    """Whether new keys were made: there were none, or the file does not hold those that are valid."""
    path = data_dir / scene.KEYS_FILE
    if _valid(path):
        return False
    for old in ApiKey.objects.filter(name__in=NAMES.values(), created_by=AUTOMATON, revoked_at=None):
        keys.revoke(old, by=BY, because="the demo's key file is not there any more")
    place = Environment.objects.get(key=scene.ENVIRONMENT)
    bound = {"services": [Service.objects.get(key=scene.SERVICE)]}
    more: dict[str, dict[str, Any]] = {"write": bound, "browser": bound | {"from_origins": [pages.ORIGIN]}}
    made = {
        scope: keys.create(name, scopes=[scope], environments=[place], by=BY, **more.get(scope, {}))[1]
        for scope, name in NAMES.items()
    }
    _write(path, made)
    return True


def remove(data_dir: Path) -> None:
    (data_dir / scene.KEYS_FILE).unlink(missing_ok=True)


def _valid(path: Path) -> bool:
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        digests = {keys.digest(held[scope]) for scope in NAMES}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
    return ApiKey.objects.filter(digest__in=digests, revoked_at=None).count() == len(NAMES)


def _write(path: Path, made: dict[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump(made, file)
    fresh.replace(path)
