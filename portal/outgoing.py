"""Every request that leaves for an address somebody typed in: checked first, then sent to what was checked."""

import ipaddress
import socket
import ssl
from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import urlsplit

import httpx
from django.conf import settings

MAX_ANSWER_BYTES = 64 * 1024


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
    try:
        found = socket.getaddrinfo(
            parts.hostname, port or (443 if parts.scheme == "https" else 80), type=socket.SOCK_STREAM
        )
    except (OSError, UnicodeError) as error:
        raise NotFound(f"{parts.hostname} cannot be found: {error}") from None
    addresses = [str(entry[4][0]) for entry in found]
    for address in addresses:
        if not allowed(address):
            raise Blocked(f"{parts.hostname} is {address}, inside a network that outgoing requests may not reach")
    return parts.hostname, addresses[0]


def allowed(address: str) -> bool:
    """Public, or inside PORTAL_OUTGOING_ALLOW."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    mapped = getattr(ip, "ipv4_mapped", None)
    ip = mapped or ip
    if any(ip in ipaddress.ip_network(network, strict=False) for network in settings.PORTAL_OUTGOING_ALLOW):
        return True
    return ip.is_global and not ip.is_multicast


@lru_cache(maxsize=1)
def _trusted() -> ssl.SSLContext:
    """The certificates that are trusted, read once: reading them takes a hundred times as long as the rest."""
    return httpx.create_ssl_context(trust_env=False)


def post(url: str, *, content: bytes, headers: Mapping[str, str], timeout: float) -> httpx.Response:
    """POST to the address that was checked, whatever the name resolves to a moment later. No redirect is followed.

    Raises Blocked, or httpx.HTTPError when the receiver cannot be reached or takes longer than `timeout` seconds.
    """
    host, address = check(url)
    parts = urlsplit(url)
    pinned = httpx.URL(url).copy_with(host=address)
    # trust_env off: a proxy from the environment would resolve the name once more.
    with (
        httpx.Client(timeout=timeout, follow_redirects=False, trust_env=False, verify=_trusted()) as client,
        client.stream(
            "POST",
            pinned,
            content=content,
            headers={**headers, "Host": parts.netloc},
            extensions={"sni_hostname": host},
        ) as response,
    ):
        body = b""
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) >= MAX_ANSWER_BYTES:
                break
        return httpx.Response(response.status_code, headers=response.headers, content=body[:MAX_ANSWER_BYTES])
