"""A relay that notes what passes: a browser's tools do not show what a page sends in its last moment."""

import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import httpx

OWN_WAY = {"connection", "transfer-encoding", "content-length", "host", "date", "server", "keep-alive"}


@dataclass(frozen=True, slots=True)
class Passed:
    """One request, and what it was answered."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    status: int
    answered: int  # bytes of the answer as they went


class Relay:
    """Byte for byte, both ways."""

    def __init__(self, portal: str) -> None:
        self.portal = portal
        self.passed: list[Passed] = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    @property
    def reports(self) -> list[Passed]:
        return [one for one in self.passed if one.method == "POST"]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        relay = self

        class Handler(BaseHTTPRequestHandler):
            def _pass(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                kept = {name: value for name, value in headers.items() if name not in OWN_WAY}
                with (
                    httpx.Client(trust_env=False, timeout=70) as client,
                    client.stream(self.command, relay.portal + self.path, content=body, headers=kept) as answer,
                ):
                    raw = b"".join(answer.iter_raw())
                    relay.passed.append(Passed(self.command, self.path, headers, body, answer.status_code, len(raw)))
                    self.send_response(answer.status_code)
                    for name, value in answer.headers.items():
                        if name not in OWN_WAY:
                            self.send_header(name, value)
                if answer.status_code not in (204, 304):
                    self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            do_GET = do_POST = do_OPTIONS = _pass

            def log_message(self, *_: Any) -> None:
                """Says nothing."""

        return Handler
