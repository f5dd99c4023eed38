"""API keys: made once, kept as SHA-256, held in memory by the doors that may not ask the database."""

import base64
import binascii
import hashlib
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from django.db import transaction
from django.utils import timezone

from portal import audit, origins, permissions, versions
from portal.errors import Invalid
from portal.models import ApiKey, Environment, Service

PREFIX = "fd_"
PUBLIC = re.compile(r"[0-9a-f]{64}\Z")


def digest(raw: str) -> str:
    """How a key is stored. Keys are 256 random bits, so a plain hash cannot be guessed back."""
    return hashlib.sha256(raw.encode("utf-8", "surrogatepass")).hexdigest()


def to_public(raw: str) -> str:
    """The key in hexadecimal digits: for where a dash is not taken, as in the DSN of a Sentry SDK."""
    body = raw.removeprefix(PREFIX)
    return base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)).hex()


def from_public(given: str) -> str:
    """The key itself, from its hexadecimal digits; whatever else is given stays as it is."""
    text = given.strip()
    if not PUBLIC.match(text.lower()):
        return text
    return PREFIX + base64.urlsafe_b64encode(binascii.unhexlify(text)).decode().rstrip("=")


def create(
    name: str,
    *,
    scopes: Iterable[str],
    by: audit.Actor,
    environments: Iterable[Environment] | None = None,
    services: Iterable[Service] | None = None,
    expires_at: datetime | None = None,
    from_origins: Iterable[str] = (),
) -> tuple[ApiKey, str]:
    """Make a key; returns its row and the key itself, which is shown this once. None means all of them.

    A `browser` key stands in public pages: it carries no other scope, belongs to one environment, and names the
    origins of the pages that may use it.
    """
    permissions.require(by, "administer")
    scopes = sorted(set(scopes))
    unknown = set(scopes) - set(ApiKey.Scope.values)
    if unknown or not scopes:
        raise Invalid.of(
            "scopes", f"choose from {', '.join(ApiKey.Scope.values)}" + (f", not {sorted(unknown)}" if unknown else "")
        )
    bound = None if environments is None else list(environments)
    if ApiKey.Scope.EVALUATE in scopes and (bound is None or len(bound) != 1):
        raise Invalid.of("environments", "a key that evaluates belongs to exactly one environment")
    allowed = origins.clean(from_origins)
    if ApiKey.Scope.BROWSER in scopes:
        if len(scopes) > 1:
            raise Invalid.of("scopes", "a browser key is public: it carries no other scope")
        if bound is None or len(bound) != 1:
            raise Invalid.of("environments", "a browser key belongs to exactly one environment")
        if not allowed:
            raise Invalid.of("origins", "name the sites whose pages may use it, as https://shop.example.com")
    elif allowed:
        raise Invalid.of("origins", "only a key of scope browser names origins")
    if not name.strip() or len(name) > 200:
        raise Invalid.of("name", "1 to 200 characters")
    raw = PREFIX + secrets.token_urlsafe(32)
    with transaction.atomic():
        key = ApiKey.objects.create(
            name=name.strip(),
            prefix=raw[:9],
            digest=digest(raw),
            scopes=scopes,
            all_environments=bound is None,
            all_services=services is None,
            created_by=audit.describe(by)[:200],
            expires_at=expires_at,
            origins=allowed,
        )
        key.environments.set(bound or ())
        key.services.set(services or ())
        after = {"scopes": scopes, "environments": [e.key for e in bound or ()]}
        audit.record("key.created", key, by=by, after=after | ({"origins": allowed} if allowed else {}))
        versions.bump("keys")
    return key, raw


def revoke(key: ApiKey, *, by: audit.Actor, because: str = "") -> bool:
    """End a key. Every process forgets it within 1.5 seconds. False when it was revoked before."""
    permissions.require(by, "administer")
    with transaction.atomic():
        if not ApiKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=timezone.now()):
            return False
        key.refresh_from_db()
        audit.record("key.revoked", key, by=by, because=because)
        versions.bump("keys")
    return True


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """What a door needs to know of a key. None means all of them."""

    id: int
    name: str
    scopes: frozenset[str]
    environments: frozenset[str] | None
    services: frozenset[str] | None
    expires_at: datetime | None

    def may(self, scope: str) -> bool:
        """`admin` implies all, `write` implies `read`."""
        if scope in self.scopes or ApiKey.Scope.ADMIN in self.scopes:
            return True
        return scope == ApiKey.Scope.READ and ApiKey.Scope.WRITE in self.scopes


@dataclass(slots=True)
class Ring:
    """The live keys of one process. `load` asks the database; `find` never does."""

    by_digest: dict[str, KeyInfo] = field(default_factory=dict)

    def load(self) -> None:
        rows = ApiKey.objects.filter(revoked_at=None).prefetch_related("environments", "services")
        self.by_digest = {
            key.digest: KeyInfo(
                id=key.pk,
                name=key.name,
                scopes=frozenset(key.scopes),
                environments=None if key.all_environments else frozenset(e.key for e in key.environments.all()),
                services=None if key.all_services else frozenset(s.key for s in key.services.all()),
                expires_at=key.expires_at,
            )
            for key in rows
        }

    def find(self, raw: str, *, now: datetime) -> KeyInfo | None:
        """The key that this secret belongs to, unless it is unknown, revoked or expired."""
        found = self.by_digest.get(digest(raw))
        if found is None or (found.expires_at is not None and found.expires_at <= now):
            return None
        return found

    def of(self, key: int, *, now: datetime) -> KeyInfo | None:
        """The key of this number, unless it is unknown, revoked or expired."""
        found = next((one for one in self.by_digest.values() if one.id == key), None)
        if found is None or (found.expires_at is not None and found.expires_at <= now):
            return None
        return found


def presented(authorization: str, api_key: str) -> str:
    """The secret in `Authorization: Bearer KEY` or `X-API-Key: KEY`; empty when there is none."""
    kind, _, value = authorization.partition(" ")
    if kind.lower() == "bearer" and value.strip():
        return value.strip()
    return api_key.strip()
