"""A receiver of webhooks on the loopback: records what arrives, answers as it is told."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Call:
    headers: dict[str, str]
    body: bytes
    path: str = ""


@dataclass
class Reply:
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    after: float = 0.0  # seconds


@dataclass
class Receiver:
    url: str
    calls: list[Call] = field(default_factory=list)
    answer: Callable[[Call], Reply] = lambda call: Reply()

    @property
    def keys(self) -> list[str]:
        return [call.headers["Idempotency-Key"] for call in self.calls]


class _Server(ThreadingHTTPServer):
    # Every connection of a kill test at once.
    request_queue_size = 256
    daemon_threads = True


@contextmanager
def running() -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            call = Call(dict(self.headers.items()), body, self.path)
            receiver.calls.append(call)
            reply = receiver.answer(call)
            if reply.after:
                time.sleep(reply.after)
            try:
                self.send_response(reply.status)
                for name, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(reply.body)
            except OSError:
                pass  # the sender was killed, or has given up

        def log_message(self, *_: object) -> None:
            pass

    server = _Server(("127.0.0.1", 0), Handler)
    receiver = Receiver(f"http://127.0.0.1:{server.server_address[1]}/hook")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
