"""Examples to copy: each filled in for the flag, those in Python and JavaScript run exactly as they are shown."""

import html
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from portal.models import Environment
from rollouts.actions import flags
from rollouts.views.connect_examples import LANGUAGES
from tests import make
from tests.clients.node import install
from tests.pages import seats
from tests.web import Web

VALUES: dict[str, Any] = {"bool": True, "string": "it's", "int": 7, "float": 1.5, "json": {"a": [1]}}
SHOWN = {"bool": "True", "string": "it's", "int": "7", "float": "1.5", "json": "{'a': [1]}"}
SHOWN_BY_NODE = {"bool": "true", "string": '"it\'s"', "int": "7", "float": "1.5", "json": '{"a":[1]}'}
# What a browser has and Node has not.
BROWSER = """
const kept = new Map();
globalThis.localStorage = {
  getItem: (key) => kept.get(key) ?? null,
  setItem: (key, value) => kept.set(key, String(value)),
  removeItem: (key) => kept.delete(key),
};
"""


@pytest.fixture
def place() -> Environment:
    return make.environment("production")


@pytest.fixture
def web(place: Environment, transactional_db: None, settings: Any) -> Iterator[Web]:
    for value_type, value in VALUES.items():
        flag = flags.create(f"{value_type}-flag", by=make.BY, value_type=value_type,
                            variants=[{"key": "it", "value": value}])  # fmt: skip
        flags.configure(flag, place, {"enabled": True}, by=make.BY)
    with Web() as running:
        settings.PORTAL_BASE_URL = running.url
        yield running


def shown(client: Client, flag: str, language: str) -> str:
    page = client.get(f"/flags/{flag}/connect/", {"language": language})
    assert page.status_code == 200
    found = re.search(r'id="snippet-code"><code>(.*?)</code>', page.content.decode(), re.S)
    assert found
    return html.unescape(found[1])


def known_key(web: Web, place: Environment) -> str:
    """A key that the process has heard of: it looks for new ones once a second."""
    key = make.key("evaluate", environments=[place])
    while web.ofrep(key).status_code != 200:
        time.sleep(0.05)
    return key


def run(command: list[str], folder: Path, key: str) -> str:
    done = subprocess.run(
        command, cwd=folder, env=os.environ | {"FLIGHTDECK_KEY": key}, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.django_db(transaction=True)
def test_the_examples_print_the_flags_value(web: Web, place: Environment, tmp_path: Path) -> None:
    key, owner = known_key(web, place), seats.owner()
    assert {
        flag: run([sys.executable, "-c", shown(owner, f"{flag}-flag", "python")], tmp_path, key) for flag in VALUES
    } == SHOWN
    shell = shown(owner, "int-flag", "curl")
    assert '"value":7' in run(["sh", "-c", shell], tmp_path, key)
    folder = install("server")
    for flag, expected in SHOWN_BY_NODE.items():
        program = folder / f".example-{os.getpid()}.mjs"
        program.write_text(shown(owner, f"{flag}-flag", "javascript"))
        try:
            assert run(["node", str(program)], folder, key) == expected
        finally:
            program.unlink()


@pytest.mark.django_db(transaction=True)
def test_the_browsers_example_prints_the_flags_value(web: Web, place: Environment) -> None:
    folder = install("web")
    key, owner = known_key(web, place), seats.owner()
    surroundings, program = folder / f".browser-{os.getpid()}.mjs", folder / f".example-{os.getpid()}.mjs"
    surroundings.write_text(
        'import { EventSource } from "eventsource";\nglobalThis.EventSource = EventSource;' + BROWSER
    )
    try:
        for flag, expected in SHOWN_BY_NODE.items():
            # The one thing that a reader has to put in.
            program.write_text(shown(owner, f"{flag}-flag", "browser").replace("YOUR-KEY", key))
            node = subprocess.Popen(
                ["node", "--import", str(surroundings), str(program)], cwd=folder, text=True, stdout=subprocess.PIPE
            )
            assert node.stdout is not None
            try:
                assert node.stdout.readline().strip() == expected
            finally:
                node.kill()
                node.wait()
                node.stdout.close()
    finally:
        surroundings.unlink()
        program.unlink(missing_ok=True)


@pytest.mark.django_db
def test_every_language_is_filled_in_for_every_type_and_shows_no_key(place: Environment) -> None:
    owner = seats.owner()
    make.key("evaluate", environments=[place])
    for value_type, value in VALUES.items():
        flags.create(f"{value_type}-flag", by=make.BY, value_type=value_type, variants=[{"key": "it", "value": value}])
        for language in LANGUAGES:
            code = shown(owner, f"{value_type}-flag", language.key)
            assert f"{value_type}-flag" in code
            assert not re.search(r"@[A-Z]+@", code)
            assert "fd_" not in code
            assert language.calls[value_type] in code
    page = owner.get("/flags/bool-flag/connect/", {"environment": "production"}).content.decode()
    assert "--environment production" in page
    assert "/api/v1/environments/production/dotenv" in page
    assert "<script>" not in page
    assert 'href="/flags/bool-flag/connect/"' in owner.get("/flags/bool-flag/").content.decode()


@pytest.mark.django_db
@pytest.mark.parametrize("address", ["ghost/connect/", "a/connect/?language=cobol", "a/connect/?environment=mars"])
def test_what_is_not_there_is_not_found(place: Environment, address: str) -> None:
    make.flag("a")
    assert seats.owner().get(f"/flags/{address}").status_code == 404
    assert Client().get(f"/flags/{address}").status_code == 302
