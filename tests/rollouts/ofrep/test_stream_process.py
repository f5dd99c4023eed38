"""Event streams of a web process as it really runs."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from portal import keys
from portal.models import Environment
from rollouts.actions import flags
from tests import make
from tests.running import ROOT
from tests.web import Web

pytestmark = pytest.mark.django_db(transaction=True)
SOON = 60.0  # seconds


def address(web: Web, key: str, flag: str) -> str:
    deadline = time.monotonic() + SOON
    while web.ofrep(key, flag).status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    uri: str = web.ofrep(key).json()["eventStreams"][0]["endpoint"]["requestUri"]
    return web.url + uri


def prepared() -> tuple[Environment, str]:
    place = make.environment("production")
    make.flag("flag", on_in=[place], serving="on")
    return place, make.key("evaluate", environments=[place])


def test_a_write_is_told_and_the_end_of_the_process_ends_the_stream_whole() -> None:
    place, key = prepared()
    with Web() as web:
        flag = flags.Flag.objects.get()
        with httpx.stream("GET", address(web, key, "flag"), timeout=SOON, trust_env=False) as stream:
            lines = stream.iter_lines()
            told = (line for line in lines if line.startswith("data: "))
            first = next(told)
            flags.kill(flag, place, by=make.BY)
            assert next(told) != first
            assert web.ofrep(key, "flag").json()["reason"] == "DISABLED"
            assert web.process is not None
            web.process.terminate()
            # A stream that was cut off, and not ended, would raise.
            assert not any(line.startswith("data:") for line in lines)
            web.process.wait(SOON)


def test_a_revoked_key_ends_its_streams_everywhere() -> None:
    _, key = prepared()
    with Web() as web, httpx.stream("GET", address(web, key, "flag"), timeout=SOON, trust_env=False) as stream:
        lines = stream.iter_lines()
        next(line for line in lines if line.startswith("data:"))
        keys.revoke(keys.ApiKey.objects.get(), by=make.BY)
        assert [line for line in lines if line.startswith("data:")] == []


def test_the_server_does_not_log_addresses_even_when_it_logs_all(tmp_path: Path) -> None:
    _, key = prepared()
    written = tmp_path / "log"

    class Talking(Web):
        def __enter__(self) -> "Talking":
            command = [sys.executable, "-m", "uvicorn", "portal.asgi:application", "--port", str(self.port)]
            with written.open("wb") as output:
                self.process = subprocess.Popen(
                    [*command, "--log-level", "info"], cwd=ROOT, env=self.environment, stdout=output, stderr=output
                )
            deadline = time.monotonic() + SOON * 2
            while not self.evaluates():
                assert time.monotonic() < deadline
                time.sleep(0.1)
            return self

    with Talking() as web, httpx.stream("GET", address(web, key, "flag"), timeout=SOON, trust_env=False) as stream:
        next(line for line in stream.iter_lines() if line.startswith("data:"))
        assert web.process is not None
        web.process.send_signal(signal.SIGTERM)
        web.process.wait(SOON)
    said = written.read_text()
    assert said
    assert not re.search("token=", said)
