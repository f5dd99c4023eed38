"""Every request that leaves for an address somebody typed in: checked first, then sent to what was checked."""

import ipaddress
import socket
import ssl
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final
from urllib.parse import urlsplit

import httpcore
import httpx
from django.conf import settings

MAX_ANSWER_BYTES = 64 * 1024
# Networks whose addresses are really IPv4 ones, by the gateway's leave.
NAT64: Final = ipaddress.ip_network("64:ff9b::/96")


class Blocked(Exception):
    """The address may not be reached from here."""


class NotFound(Blocked):
    """The name does not resolve now; it may later."""


def check(url: str) -> tuple[str, str]:
    """The host of the URL and the one address that it may be reached at; raises Blocked with the reason."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise Blocked(f"not a web address: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Blocked("only http:// and https:// addresses are allowed")
    if parts.username or parts.password:
        raise Blocked("an address may not carry a user or a password")
    return parts.hostname, resolve(parts.hostname, port or (443 if parts.scheme == "https" else 80))


def resolve(host: str, port: int) -> str:
    """The one address that the host may be reached at; raises Blocked when one of its addresses may not be."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, OverflowError) as error:
        raise NotFound(f"{host} cannot be found: {error}") from None
    addresses = [str(entry[4][0]) for entry in found]
    for address in addresses:
        if not allowed(address):
            raise Blocked(f"{host} is {address}, inside a network that outgoing requests may not reach")
    return addresses[0]


def allowed(address: str) -> bool:
    """Public, or inside PORTAL_OUTGOING_ALLOW."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        translated = ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF) if ip in NAT64 else None
        ip = ip.ipv4_mapped or ip.sixtofour or translated or ip
    if any(ip in ipaddress.ip_network(network, strict=False) for network in settings.PORTAL_OUTGOING_ALLOW):
        return True
    return ip.is_global and not ip.is_multicast


@lru_cache(maxsize=1)
def _trusted() -> ssl.SSLContext:
    """The certificates that are trusted, read once: reading them takes a hundred times as long as the rest."""
    return httpx.create_ssl_context(trust_env=False)


@lru_cache(maxsize=1)
def _trusting() -> ssl.SSLContext:
    """Takes any certificate: for whoever only wants to look at it, or says that he knows his own."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@dataclass(frozen=True, slots=True)
class Deadline:
    """When all of it must be over: a limit for each read alone lets a sender drip for ever."""

    until: float = field(default=0.0)  # by time.monotonic()

    @classmethod
    def within(cls, seconds: float) -> "Deadline":
        return cls(time.monotonic() + seconds)

    def left(self) -> float:
        """Seconds; raises TimeoutError when there are none."""
        left = self.until - time.monotonic()
        if left <= 0:
            raise TimeoutError("took longer than the time that it was given")
        return left


@dataclass(frozen=True, slots=True)
class Got:
    """An answer as it came: `body` is neither unpacked nor decoded, and may be cut."""

    status: int
    headers: httpx.Headers
    body: bytes
    whole: bool  # False: there was more than was asked for
    certificate: bytes | None  # the server's, DER; None without TLS


class _Stream(httpcore.NetworkStream):
    """A connection that knows when it has to be over."""

    def __init__(self, inner: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._inner, self._deadline = inner, deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, _left(self._deadline, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, _left(self._deadline, httpcore.WriteTimeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = _left(self._deadline, httpcore.ConnectTimeout)
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, left), self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class _Pinned(httpcore.NetworkBackend):
    """Connects to the address that was checked, whatever the name resolves to a moment later."""

    def __init__(self, address: str, deadline: Deadline) -> None:
        self._address, self._deadline = address, deadline
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        left = _left(self._deadline, httpcore.ConnectTimeout)
        return _Stream(self._inner.connect_tcp(self._address, port, left), self._deadline)


class _Transport(httpx.HTTPTransport):
    """httpx's, over a pinned connection. Nothing of the environment: a proxy would resolve the name once more."""

    def __init__(self, address: str, deadline: Deadline, context: ssl.SSLContext) -> None:
        super().__init__(verify=context, trust_env=False)
        self._pool = httpcore.ConnectionPool(
            ssl_context=context, network_backend=_Pinned(address, deadline), max_connections=1
        )


def _left(deadline: Deadline, error: type[Exception]) -> float:
    try:
        return deadline.left()
    except TimeoutError as over:
        raise error(str(over)) from None


def request(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    timeout: float,
    content: bytes = b"",
    at_most: int = MAX_ANSWER_BYTES,
    verify: bool = True,
) -> Got:
    """Ask the address that was checked; everything together takes no longer than `timeout` seconds.

    No redirect is followed; no more than `at_most` bytes of the answer are read. `verify=False` takes a certificate
    of anybody. Raises Blocked, or httpx.HTTPError when the server cannot be reached, breaks off or takes too long.
    """
    deadline = Deadline.within(timeout)
    _, address = check(url)
    context = _trusted() if verify else _trusting()
    with (
        httpx.Client(
            transport=_Transport(address, deadline, context), timeout=timeout, follow_redirects=False, trust_env=False
        ) as client,
        client.stream(method, url, content=content or None, headers=headers) as response,
    ):
        tls = response.extensions["network_stream"].get_extra_info("ssl_object")
        certificate = tls.getpeercert(True) if tls is not None else None
        body = bytearray()
        for chunk in response.iter_raw():
            body += chunk
            if len(body) > at_most:
                break
        return Got(response.status_code, response.headers, bytes(body[:at_most]), len(body) <= at_most, certificate)


def post(url: str, *, content: bytes, headers: Mapping[str, str], timeout: float) -> httpx.Response:
    """POST, and the beginning of what was answered. Raises Blocked, or httpx.HTTPError, after `timeout` seconds too."""
    got = request("POST", url, content=content, headers={"Accept-Encoding": "identity", **headers}, timeout=timeout)
    # As it came: what is packed all the same is not worth unpacking, and its header would have httpx try.
    kept = [(name, value) for name, value in got.headers.multi_items() if name.lower() != "content-encoding"]
    return httpx.Response(got.status, headers=kept, content=got.body)


def connect(host: str, port: int, *, deadline: Deadline) -> socket.socket:
    """A TCP connection to where it may lead. Raises Blocked or OSError."""
    address = resolve(host, port)
    return socket.create_connection((address, port), timeout=deadline.left())


def secure(raw: socket.socket, host: str, *, deadline: Deadline, verify: bool = True) -> ssl.SSLSocket:
    """TLS over a connection. Raises OSError, of which ssl.SSLError is one."""
    raw.settimeout(deadline.left())
    return (_trusted() if verify else _trusting()).wrap_socket(raw, server_hostname=host)
