"""Valkey as a child: append-only file, on TCP with a password that no process list shows."""

import os
import secrets
from pathlib import Path

import redis

from portal.supervise import binaries, ports
from portal.supervise.children import Child
from portal.supervise.errors import Unstartable
from portal.supervise.output import Output


class Valkey:
    """The server of one data directory; `child` is what to start and stop."""

    def __init__(self, data_dir: Path, output: Output, *, inherits: tuple[int, ...] = (), keep: bool = True) -> None:
        self.folder = data_dir / "valkey"
        self.keep = keep
        self.password = secrets.token_urlsafe(24)
        self.port = ports.free()
        self.child = Child(
            "valkey",
            [str(binaries.valkey()), str(self.folder / "valkey.conf")],
            os.environ,
            data_dir,
            output,
            inherits=inherits,
        )

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def prepare(self) -> None:
        lines = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "requirepass": self.password,
            "dir": f'"{_escaped(self.folder)}"',
            "appendonly": "yes" if self.keep else "no",
            "save": '""',
            "loglevel": "warning",
        }
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            config = self.folder / "valkey.conf"
            config.unlink(missing_ok=True)
            with open(os.open(config, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
                file.writelines(f"{name} {value}\n" for name, value in lines.items())
        except OSError as error:
            raise Unstartable(f"{self.folder} cannot be written to: {error.strerror}") from error

    def is_ready(self) -> bool:
        try:
            with redis.Redis.from_url(self.url, socket_timeout=1, socket_connect_timeout=1) as client:
                return bool(client.ping())
        except redis.RedisError:  # not up yet, or still loading its file
            return False


def _escaped(path: Path) -> str:
    return str(path).replace("\\", "\\\\").replace('"', '\\"')
