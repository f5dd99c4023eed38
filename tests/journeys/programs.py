"""Programs of others beside the portal, on free ports, ended with the test."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

from portal.supervise import ports
from tests.running import wait_for


def free_port() -> int:
    with ports.listen("127.0.0.1", 0) as probe:
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def running(folder: Path, port: int, *command: str, ready: str = "/-/ready") -> Iterator[None]:
    """From when it is ready until it has ended."""
    log = folder / f"{port}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd=folder, start_new_session=True)
    try:
        wait_for(lambda: process.poll() is not None or is_ready(port, ready), command[0])
        assert process.poll() is None, log.read_text()
        yield
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def is_ready(port: int, path: str = "/-/ready") -> bool:
    with suppress(httpx.HTTPError):
        return httpx.get(f"http://127.0.0.1:{port}{path}", timeout=2, trust_env=False).status_code == 200
    return False
