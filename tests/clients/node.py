"""JavaScript clients as programs: each is installed once, driven by lines of JSON."""

import fcntl
import json
import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

HERE = Path(__file__).resolve().parent
INSTALLS_WITHIN = 120  # seconds
# What could not be installed once is not tried by every test.
_failed: dict[str, str] = {}


def install(name: str) -> Path:
    """The client's packages beside its package.json, by npm, unless they are there."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("node and npm are not installed")
    folder = HERE / name
    wanted, done = folder / "package.json", folder / "node_modules" / ".installed"
    with (HERE / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists() or done.read_text() != wanted.read_text():
            if name not in _failed:
                _failed[name] = _npm_install(folder)
            if _failed[name]:
                pytest.skip(f"npm cannot install the clients: {_failed[name]}")
            done.write_text(wanted.read_text())
    return folder


def _npm_install(folder: Path) -> str:
    """Why it could not be done; empty when it was."""
    command = ["npm", "install", "--fetch-retries=1", "--fetch-timeout=30000"]
    try:
        run = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=INSTALLS_WITHIN, check=False
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"not done within {INSTALLS_WITHIN} s"
    return run.stderr.strip()[-300:] or f"exit code {run.returncode}" if run.returncode else ""


class Node:
    """A client that runs: `with Node("web") as client: client("start", url=…)`."""

    def __init__(self, name: str) -> None:
        self.folder = install(name)

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            ["node", "drive.mjs"], cwd=self.folder, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, what: object, where: TracebackType | None) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()

    def __call__(self, order: str, **given: Any) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"do": order, **given}) + "\n")
        self.process.stdin.flush()
        # The clients' own words may stand in between.
        line = next(line for line in self.process.stdout if line.startswith("{"))
        answer = json.loads(line)
        assert "error" not in answer, answer["error"]
        return answer["ok"]
