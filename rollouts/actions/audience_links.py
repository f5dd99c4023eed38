"""Signed links by which a person joins or leaves an audience: who has the link needs no account."""

import secrets
import time
from dataclasses import dataclass

from django.conf import settings
from django.core import signing
from django.urls import reverse

from portal.audit import Actor
from portal.errors import Invalid, Refused
from rollouts.actions import segments
from rollouts.engine import reading
from rollouts.models import Audience

SALT = "flightdeck.audience"
LONGEST_LIFE = 366 * 24 * 3600  # seconds
USUAL_LIFE = 14 * 24 * 3600  # seconds
LONGEST_TOKEN = 4096  # characters


@dataclass(frozen=True, slots=True)
class Link:
    """Without a unit it is for whoever opens it: a browser that is not known yet becomes a new unit."""

    audience: Audience
    unit: str | None
    expires: int  # Unix seconds


class Expired(Refused):
    """A link of ours whose time is over, or that was taken out of use."""


def make(audience: Audience, *, unit: str | None = None, expires_in: int = USUAL_LIFE, by: Actor) -> tuple[str, Link]:
    """The address of a new link, and what it says."""
    segments.require(by, audience.segment)
    faults = reading.Faults()
    if unit is not None:
        reading.a_text(unit, "unit", faults)
    if type(expires_in) is not int or not 60 <= expires_in <= LONGEST_LIFE:
        faults.add("expires_in", f"must be a number of seconds from 60 to {LONGEST_LIFE}")
    if faults:
        raise Invalid(faults)
    link = Link(audience, unit, int(time.time()) + expires_in)
    told = [audience.pk, audience.link_epoch, link.expires, *([] if unit is None else [unit])]
    token = signing.dumps(told, salt=SALT, compress=True)
    return settings.PORTAL_BASE_URL + reverse("join", args=[token]), link


def read(token: str) -> Link | None:
    """What a token says; None when it is none of ours. Raises Expired."""
    if len(token) > LONGEST_TOKEN:
        return None
    try:
        pk, epoch, expires, *rest = signing.loads(token, salt=SALT)
    except (signing.BadSignature, ValueError):
        return None
    audience = Audience.objects.select_related("segment").filter(pk=pk).first()
    if audience is None:
        return None
    if expires <= time.time():
        raise Expired("This link has expired. Ask for a new one.")
    if epoch != audience.link_epoch:
        raise Expired("This link has been taken out of use. Ask for a new one.")
    return Link(audience, rest[0] if rest else None, expires)


def new_unit() -> str:
    """Somebody of whom nothing is known."""
    return f"guest-{secrets.token_hex(12)}"
