"""Does a port take connections, and does the database or cache behind it answer as one."""

import contextlib
import socket
import struct
from collections.abc import Mapping
from typing import Any, Final

from monitoring.sources import asking, certificates, fields
from monitoring.sources.asking import Stopwatch
from monitoring.sources.registry import Asked, Pulled
from portal import outgoing
from portal.errors import Invalid
from portal.outgoing import Deadline

PROTOCOLS: Final = ("plain", "tls", "postgres", "mysql", "redis")
# PostgreSQL's SSLRequest: its length, and the code that no version has. One byte answers: S or N.
SSL_REQUEST: Final = struct.pack("!ii", 8, 80877103)
# MySQL greets first: three bytes of length, a number, and the version of its protocol (an error begins with 255).
MYSQL_VERSIONS: Final = (9, 10)


class TcpProbe:
    name = "tcp"
    probes = True
    own = True

    def clean(self, config: Mapping[str, Any]) -> dict[str, Any]:
        fields.only(config, {"host", "port", "protocol", "verify"})
        host = fields.text(config, "host")
        if not host or len(host) > 253 or any(character.isspace() or character in "/@" for character in host):
            raise Invalid.of("host", "must be the name or address of a host")
        made: dict[str, Any] = {"host": host, "port": fields.whole(config, "port", least=1, most=65_535)}
        made["protocol"] = fields.one_of(config, "protocol", PROTOCOLS, "plain")
        with contextlib.suppress(ValueError):  # a name: it is looked up each time
            if not outgoing.allowed(host):
                raise Invalid.of("host", f"{host} is inside a network that outgoing requests may not reach")
        return made | fields.yes_or_no(config, "verify")

    def instance(self, config: Mapping[str, Any]) -> str:
        return f"{config['host']}:{config['port']}"

    def pull(self, asked: Asked) -> Pulled:
        pulled, watch, config = Pulled(), Stopwatch(), asked.config
        deadline = Deadline.within(asked.timeout)
        try:
            with outgoing.connect(config["host"], config["port"], deadline=deadline) as raw:
                der = _talk(raw, config, deadline)
            pulled.measured |= certificates.measured(der, time=asked.time)
        except outgoing.Blocked as error:
            pulled.error = str(error)
        except TimeoutError:
            pulled.error = f"no answer within {asked.timeout:g} s"
        except (OSError, ValueError) as error:
            pulled.error = asking.words(error)
            if pulled.error.startswith(asking.DISTRUSTED) and (left := asked.timeout - watch.seconds) > 0:
                pulled.measured |= certificates.measured(_look(config, left), time=asked.time)
        return pulled


def _talk(raw: socket.socket, config: Mapping[str, Any], deadline: Deadline) -> bytes | None:
    """As much of the protocol as proves who is there; the certificate, where there is one."""
    match config.get("protocol", "plain"):
        case "tls":
            return _certificate(raw, config, deadline)
        case "postgres":
            raw.settimeout(deadline.left())
            raw.sendall(SSL_REQUEST)
            answer = raw.recv(1)
            if answer == b"S":
                return _certificate(raw, config, deadline)
            if answer != b"N":
                raise ValueError("what answers is no PostgreSQL")
        case "mysql":
            greeting = _read(raw, 5, deadline)
            if greeting[4] not in MYSQL_VERSIONS:
                raise ValueError("what answers is no MySQL, or refuses connections")
        case "redis":
            raw.settimeout(deadline.left())
            raw.sendall(b"PING\r\n")
            answer = _read(raw, 5, deadline)
            # One that asks for a password is there.
            if answer not in (b"+PONG", b"-NOAU"):
                raise ValueError("what answers is no Redis")
    return None


def _read(raw: socket.socket, count: int, deadline: Deadline) -> bytes:
    found = b""
    while len(found) < count:
        raw.settimeout(deadline.left())
        more = raw.recv(count - len(found))
        if not more:
            raise ConnectionResetError("the connection ended before anything was said")
        found += more
    return found


def _certificate(raw: socket.socket, config: Mapping[str, Any], deadline: Deadline) -> bytes | None:
    with outgoing.secure(raw, config["host"], deadline=deadline, verify=config.get("verify", True)) as tls:
        return tls.getpeercert(binary_form=True)


def _look(config: Mapping[str, Any], timeout: float) -> bytes | None:
    """The certificate that is not trusted."""
    deadline = Deadline.within(timeout)
    try:
        with outgoing.connect(config["host"], config["port"], deadline=deadline) as raw:
            return _talk(raw, {**config, "verify": False}, deadline)
    except (OSError, ValueError, outgoing.Blocked):
        return None
