"""Ports: the one that the web listens on, and free ones for the servers behind it."""

import errno
import ipaddress
import random
import socket

from portal.supervise.errors import Unstartable

DEFAULT = 8000
NEXT_ONES = range(DEFAULT + 1, DEFAULT + 100)
# Below the range from which the kernel takes ports for outgoing connections: a server that is restarted finds
# its port still free.
QUIET = range(20_000, 32_000)


def free(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on now."""
    for port in random.sample(QUIET, 200):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return port
    raise Unstartable(f"no free port on {host} between {QUIET.start} and {QUIET.stop}")


def listen(host: str, port: int | None) -> socket.socket:
    """A listening socket: on `port`, which must be free; without one on 8000 or, if that is taken, a free one."""
    if port is not None:
        try:
            return _listen(host, port)
        except OSError as error:
            raise Unstartable(f"port {port} on {host}: {_why(error)}", exit_code=2) from error
    for candidate in (DEFAULT, *NEXT_ONES, 0):
        try:
            return _listen(host, candidate)
        except PermissionError:
            continue
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                continue
            raise Unstartable(f"cannot listen on {host}: {_why(error)}", exit_code=2) from error
    raise Unstartable(f"no free port on {host}", exit_code=2)


def address(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def reachable(host: str) -> str:
    """The host to connect to, from this machine, for what listens on `host`."""
    try:
        parsed = ipaddress.ip_address(host)
    except ValueError:
        return host
    if not parsed.is_unspecified:
        return host
    return "127.0.0.1" if parsed.version == 4 else "::1"


def _listen(host: str, port: int) -> socket.socket:
    family, kind, _, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    listener = socket.socket(family, kind)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(where)
        listener.listen(2048)
    except BaseException:
        listener.close()
        raise
    return listener


def _why(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return f"no such address ({error.strerror})"
    if isinstance(error, PermissionError):
        return "not allowed for this user"
    return "it is taken" if error.errno == errno.EADDRINUSE else str(error.strerror)
