"""A small door of its own, on the loopback address alone and for who knows the token: inject, calm, stop."""

import hmac
import json
import os
import secrets
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from portal.demo import scene
from portal.demo.trouble import Trouble, Wrong

LARGEST_BODY = 4096  # bytes


class Control(ThreadingHTTPServer):
    """Its address and token are in a file of the data directory that only its owner reads."""

    daemon_threads = True

    def __init__(self, data_dir: Path, trouble: Trouble, state: Callable[[], dict[str, Any]]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.trouble, self.state = trouble, state
        self.token = secrets.token_urlsafe(32)
        self._file = data_dir / scene.CONTROL_FILE
        self._write()

    def serve(self) -> None:
        threading.Thread(target=self.serve_forever, args=(0.1,), name="control", daemon=True).start()

    def close(self) -> None:
        self._file.unlink(missing_ok=True)
        self.shutdown()
        self.server_close()

    def _write(self) -> None:
        fresh = self._file.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        content = {"url": f"http://127.0.0.1:{self.server_address[1]}", "token": self.token, "pid": os.getpid()}
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            json.dump(content, file)
        fresh.replace(self._file)


class _Handler(BaseHTTPRequestHandler):
    server: Control
    timeout = 5
    server_version = "demo"
    sys_version = ""

    def do_GET(self) -> None:
        if self._admitted() and self.path == "/state":
            self._answer(200, self.server.state())

    def do_POST(self) -> None:
        if not self._admitted():
            return
        length = self.headers.get("Content-Length", "0")
        if not length.isdigit() or int(length) > LARGEST_BODY:
            self._answer(413, {"detail": f"at most {LARGEST_BODY} bytes"})
            return
        try:
            asked = json.loads(self.rfile.read(int(length)) or b"{}")
            if not isinstance(asked, dict):
                raise Wrong("the body must be an object")
            self.server.trouble.inject(asked)
        except (Wrong, ValueError, RecursionError) as error:
            self._answer(400, {"detail": str(error)})
            return
        self._answer(200, self.server.state())

    def _admitted(self) -> bool:
        """Whoever has no token learns nothing, not even what there is."""
        presented = self.headers.get("Authorization", "").encode("latin-1", "replace")
        if not hmac.compare_digest(presented, f"Bearer {self.server.token}".encode()):
            self._answer(401, {"detail": "the token of the control file is needed"})
            return False
        if (self.command, self.path) not in (("GET", "/state"), ("POST", "/inject")):
            self._answer(404, {"detail": "there is GET /state and POST /inject"})
            return False
        return True

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Nothing: the portal's page asks every other second."""
