"""Tokens in the addresses of event streams: an EventSource cannot send a header, so its address carries the right."""

import hashlib
import hmac
from dataclasses import dataclass

from django.conf import settings

LIVES = 6  # epochs: a token is good long after its successor has been handed out
SIGNATURE = 32  # characters
_SPREAD = 2_654_435_761  # keys do not all change their tokens at the same moment


class Forged(ValueError):
    """No token of ours."""


@dataclass(frozen=True, slots=True)
class Token:
    """Which key may listen to which environment, and until when (Unix seconds)."""

    key: int
    environment: str
    epoch: int

    @property
    def ends(self) -> int:
        return (self.epoch + LIVES) * settings.PORTAL_STREAM_EPOCH - _phase(self.key)


def epoch(key: int, now: float) -> int:
    """Counts up at every change of the key's tokens."""
    return int(now + _phase(key)) // settings.PORTAL_STREAM_EPOCH


def issue(key: int, environment: str, epoch: int) -> str:
    """The one token of this key for this epoch: every process makes the same, so that equal answers stay equal."""
    said = f"{epoch}.{key}.{environment}"
    return f"{_sign(said)}.{said}"


def read(token: str) -> Token:
    """What a token says, expired or not. Raises Forged."""
    signature, _, said = token.partition(".")
    if not hmac.compare_digest(_sign(said).encode(), signature.encode("utf-8", "surrogatepass")):
        raise Forged
    epoch, key, environment = said.split(".", 2)
    return Token(int(key), environment, int(epoch))


def _phase(key: int) -> int:
    return key * _SPREAD % settings.PORTAL_STREAM_EPOCH


def _sign(said: str) -> str:
    derived = hashlib.sha256(b"flightdeck event stream:" + settings.SECRET_KEY.encode()).digest()
    return hmac.new(derived, said.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:SIGNATURE]
