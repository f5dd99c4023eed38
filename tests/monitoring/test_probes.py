"""Probes: pages, ports, databases, certificates."""

import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pytest_django.fixtures import Settings

from monitoring import sources
from monitoring.sources import Asked, Pulled
from tests.monitoring import targets
from tests.monitoring.targets import answering

DAY = 86_400.0


@pytest.fixture(autouse=True)
def _loopback(settings: Settings) -> None:
    settings.PORTAL_OUTGOING_ALLOW = ["127.0.0.0/8"]


def probe(name: str, *, within: float = 30.0, **config: Any) -> Pulled:
    kind = sources.find(name)
    assert kind is not None
    return kind.pull(Asked(kind.clean(config), time.time(), within, "secret"))


@pytest.mark.parametrize(
    ("status", "config", "words"),
    [
        ("200 OK", {}, ""),
        ("204 No Content", {}, ""),
        ("401 Unauthorized", {"expect_status": [401]}, ""),
        ("200 OK", {"expect_status": [401]}, "HTTP 200 all is well"),
        ("500 Oops", {}, "HTTP 500 all is well"),
        ("302 Found", {}, "redirects are not followed"),
        ("200 OK", {"expect_text": "well"}, ""),
        ("200 OK", {"expect_text": "good"}, "the answer does not contain 'good'"),
        ("200 OK", {"refuse_text": "all"}, "the answer contains 'all'"),
    ],
)
def test_a_page_is_there_as_expected(status: str, config: dict[str, Any], words: str) -> None:
    with targets.running(answering("all is well", status=status)) as target:
        pulled = probe("http", url=target.url, **config)
    assert (words in pulled.error) if words else pulled.error == ""
    assert pulled.measured == {"probe_http_status_code": float(status[:3])}


def test_an_authentication_service_is_asked_for_a_token() -> None:
    with targets.running(answering('{"access_token": "x"}', "application/json")) as target:
        form: dict[str, Any] = {
            "content_type": "application/x-www-form-urlencoded",
            "body": "grant_type=client_credentials",
        }
        pulled = probe(
            "http", url=target.url, method="POST", auth="basic", user="id", expect_text="access_token", **form
        )
    assert pulled.error == ""
    assert target.heard[0].startswith(b"POST /metrics ")
    assert target.headers()["authorization"].startswith("Basic ")
    assert target.headers()["content-type"] == "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("days", "verify", "trusted"), [(10, False, True), (10, True, False), (-2, True, False), (-2, False, True)]
)
def test_how_long_a_certificate_lasts(tmp_path: Path, days: float, verify: bool, trusted: bool) -> None:
    """It is told even of one that is not trusted: expired is when one wants to know most."""
    tls = targets.certificate(tmp_path, days=days)
    with targets.running(answering("fine"), tls=tls) as target:
        page = probe("http", url=target.url, verify=verify)
        port = probe("tcp", host="127.0.0.1", port=target.port, protocol="tls", verify=verify)
    for pulled in (page, port):
        assert (pulled.error == "") is trusted, pulled.error
        assert trusted or pulled.error.startswith("the certificate is not trusted: ")
        left = pulled.measured["probe_ssl_cert_expires_in_seconds"]
        assert left == pytest.approx(days * DAY, abs=60)
        assert pulled.measured["probe_ssl_earliest_cert_expiry"] == pytest.approx(time.time() + left, abs=60)


def saying(text: bytes) -> Callable[[socket.socket, bytes], None]:
    return lambda conn, _: conn.sendall(text)


@pytest.mark.parametrize(
    ("protocol", "says", "words"),
    [
        ("plain", b"", ""),
        ("postgres", b"N", ""),
        ("postgres", b"E", "what answers is no PostgreSQL"),
        ("mysql", b"J\0\0\0\n8.0.36\0", ""),
        ("mysql", b"E\0\0\0\xffToo many connections", "what answers is no MySQL, or refuses connections"),
        ("redis", b"+PONG\r\n", ""),
        ("redis", b"-NOAUTH Authentication required.\r\n", ""),
        ("redis", b"HTTP/1.1 400\r\n", "what answers is no Redis"),
        ("redis", b"+", "onnection"),
    ],
)
def test_a_port_speaks_as_expected(protocol: str, says: bytes, words: str) -> None:
    with targets.running(saying(says), reads=False) as target:
        pulled = probe("tcp", host="127.0.0.1", port=target.port, protocol=protocol)
    assert (words in pulled.error) if words else pulled.error == ""


@pytest.mark.parametrize("protocol", ["postgres", "mysql", "redis", "tls"])
def test_a_port_that_hangs(protocol: str) -> None:
    with targets.running(targets.hanging, reads=False) as target:
        asked = probe("tcp", host="127.0.0.1", port=target.port, protocol=protocol, within=1.0)
        assert "no answer within 1 s" in asked.error


def test_a_port_that_is_shut() -> None:
    # Bound and not listening: nobody else gets the port meanwhile.
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        assert "Connection refused" in probe("tcp", host="127.0.0.1", port=taken.getsockname()[1]).error


@pytest.mark.django_db
def test_the_real_database_answers(settings: Settings) -> None:
    database = settings.DATABASES["default"]
    pulled = probe("tcp", host=str(database["HOST"]), port=int(database["PORT"]), protocol="postgres")
    assert pulled.error == ""
