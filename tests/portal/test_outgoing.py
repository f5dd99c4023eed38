"""Requests that leave: only to where they may."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import httpx
import pytest

from portal import outgoing


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://localhost:8000/hook",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://10.1.2.3/",
        "http://172.16.0.1/",
        "http://192.168.1.1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://100.64.0.1/",
        "http://0.0.0.0/",
        "http://224.0.0.1/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://[fe80::1]/",
        "http://[fd00::1]/",
        "file:///etc/passwd",
        "gopher://1.1.1.1/",
        "http://user:secret@1.1.1.1/",
        "http:///nowhere",
        "http://1.1.1.1:99999/",
        "not a url",
        "",
    ],
)
def test_an_address_inside_or_no_address_at_all_is_refused(url: str) -> None:
    with pytest.raises(outgoing.Blocked):
        outgoing.check(url)


def test_a_public_address_passes() -> None:
    assert outgoing.check("https://1.1.1.1/hook") == ("1.1.1.1", "1.1.1.1")


class _Receiver(BaseHTTPRequestHandler):
    seen: list[tuple[str, dict[str, str], bytes]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.seen.append((self.path, dict(self.headers), body))
        if self.path == "/redirect":
            self.send_response(302)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        answer = b"x" * (1_000_000 if self.path == "/flood" else 2)
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: Any) -> None:
        """Quiet."""


@pytest.fixture
def receiver(settings: Any) -> Iterator[str]:
    settings.PORTAL_OUTGOING_ALLOW = ["127.0.0.0/8"]
    _Receiver.seen.clear()
    server = HTTPServer(("127.0.0.1", 0), _Receiver)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield f"http://localhost:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_an_allowed_network_is_reached_under_the_name_that_was_given(receiver: str) -> None:
    answer = outgoing.post(f"{receiver}/hook", content=b"hello", headers={"X-A": "b"}, timeout=30)
    assert answer.status_code == 200
    path, headers, body = _Receiver.seen[0]
    assert (path, headers["X-A"], body) == ("/hook", "b", b"hello")
    assert headers["Host"].startswith("localhost:")


def test_a_redirect_is_an_answer_not_a_way_further(receiver: str) -> None:
    assert outgoing.post(f"{receiver}/redirect", content=b"", headers={}, timeout=30).status_code == 302
    assert [path for path, _, _ in _Receiver.seen] == ["/redirect"]


def test_an_answer_that_does_not_end_is_cut(receiver: str) -> None:
    answer = outgoing.post(f"{receiver}/flood", content=b"", headers={}, timeout=30)
    assert len(answer.content) == outgoing.MAX_ANSWER_BYTES


def test_nobody_there_is_an_http_error(settings: Any) -> None:
    settings.PORTAL_OUTGOING_ALLOW = ["127.0.0.0/8"]
    with pytest.raises(httpx.HTTPError):
        outgoing.post("http://127.0.0.1:9/", content=b"", headers={}, timeout=1)
