"""Targets on the loopback that answer byte by byte what a test has them answer, over TCP or TLS."""

import datetime
import gzip
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Act = Callable[[socket.socket, bytes], None]
TEXT = "text/plain; version=0.0.4"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


@dataclass
class Target:
    """What it was sent stands in `heard`."""

    port: int
    act: Act
    heard: list[bytes] = field(default_factory=list)
    scheme: str = "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/metrics"

    def headers(self) -> dict[str, str]:
        """Of the last request, in small letters."""
        lines = self.heard[-1].decode().split("\r\n\r\n")[0].split("\r\n")[1:]
        return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}


@contextmanager
def running(act: Act, *, tls: "tuple[Path, Path] | None" = None, reads: bool = True) -> Iterator[Target]:
    """`reads`: wait for a request's head before acting."""
    listener = socket.create_server(("127.0.0.1", 0))
    target = Target(listener.getsockname()[1], act, scheme="https" if tls else "http")
    opened: list[socket.socket] = []
    context = None
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)

    def serve(raw: socket.socket) -> None:
        with suppress(OSError), raw:
            conn = context.wrap_socket(raw, server_side=True) if context else raw
            opened.append(conn)
            conn.settimeout(10)
            head = b""
            while reads and b"\r\n\r\n" not in head:
                more = conn.recv(65536)
                if not more:
                    break
                head += more
            target.heard.append(head)
            target.act(conn, head)
            conn.close()

    def accept() -> None:
        with suppress(OSError):
            while True:
                conn, _ = listener.accept()
                threading.Thread(target=serve, args=(conn,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield target
    finally:
        listener.close()
        for conn in opened:
            with suppress(OSError):
                conn.shutdown(socket.SHUT_RDWR)


def answering(body: bytes | str, kind: str = TEXT, *, status: str = "200 OK", more: str = "", length: int = -1) -> Act:
    """One whole answer; `length` claims another size."""
    raw = body.encode() if isinstance(body, str) else body
    size = length if length >= 0 else len(raw)
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {size}\r\nConnection: close\r\n{more}\r\n"

    def act(conn: socket.socket, _: bytes) -> None:
        conn.sendall(head.encode() + raw)

    return act


def bomb() -> Act:
    """A few kilobytes that unpack to 64 MiB."""
    packed = gzip.compress(b"a 1\n" * (16 * 1024 * 1024), compresslevel=9)
    return answering(packed, more="Content-Encoding: gzip\r\n")


def endless(conn: socket.socket, _: bytes) -> None:
    conn.sendall(f"HTTP/1.1 200 OK\r\nContent-Type: {TEXT}\r\nConnection: close\r\n\r\n".encode())
    while True:
        conn.sendall(b"a 1\n" * 16_384)


def dripping(conn: socket.socket, _: bytes) -> None:
    """A byte now and then: each read is quick enough, all of them together never end."""
    conn.sendall(f"HTTP/1.1 200 OK\r\nContent-Type: {TEXT}\r\nContent-Length: 9999\r\n\r\n".encode())
    drip(conn, b"#")


def dripping_headers(conn: socket.socket, _: bytes) -> None:
    conn.sendall(b"HTTP/1.1 200 OK\r\n")
    drip(conn, b"X")


def drip(conn: socket.socket, byte: bytes) -> None:
    ended = threading.Event()
    while not ended.wait(0.2):
        conn.sendall(byte)


def hanging(conn: socket.socket, _: bytes) -> None:
    conn.settimeout(None)
    with suppress(OSError):
        while conn.recv(65536):
            pass  # until the other side has had enough


def resetting(conn: socket.socket, _: bytes) -> None:
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    conn.close()


def certificate(folder: Path, *, days: float) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1 that ends in so many days, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "flightdeck test")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=30))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "cert.pem", folder / "key.pem"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths
