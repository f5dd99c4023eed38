"""OFREP's application over snapshots that a test makes, asked over ASGI; no database."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx

from portal import keys
from portal.keys import KeyInfo, Ring
from rollouts.actions.tally import Tally
from rollouts.api.ofrep import Ofrep
from rollouts.engine.types import FlagSource, SegmentSource, Snapshot
from tests.rollouts.engine.build import snapshot

KEY = "fd_test"


@dataclass
class Memory:
    """What a process holds."""

    snapshots: dict[str, Snapshot]
    ring: Ring = field(default_factory=Ring)
    ready: bool = True
    watchers: list[Callable[[], None]] = field(default_factory=list)

    async def catch_up(self, *, version: int, since: float, within: float) -> None:
        """It is as new as it can be."""

    def watch(self, watcher: Callable[[], None]) -> None:
        self.watchers.append(watcher)

    def find(self, environment: str) -> Snapshot | None:
        return self.snapshots.get(environment)


class Door:
    """An OFREP door with flags behind it and one key for production before it."""

    def __init__(self, *sources: FlagSource, segments: list[SegmentSource] | None = None) -> None:
        self.memory = Memory({"production": snapshot(*sources, segments=segments)})
        self.give(KEY)
        self.tally = Tally()
        self.app = Ofrep(self.memory, self.tally)

    def give(
        self,
        raw: str,
        *scopes: str,
        environments: tuple[str, ...] | None = ("production",),
        services: tuple[str, ...] | None = None,
        expires_at: datetime | None = None,
    ) -> None:
        self.memory.ring.by_digest[keys.digest(raw)] = KeyInfo(
            id=len(self.memory.ring.by_digest) + 1,
            name=raw,
            scopes=frozenset(scopes or ("evaluate",)),
            environments=None if environments is None else frozenset(environments),
            services=None if services is None else frozenset(services),
            expires_at=expires_at,
        )

    async def ask(
        self,
        key: str | None = None,
        context: Any = None,
        *,
        method: str = "POST",
        raw: str | None = KEY,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        path: str = "/ofrep/v1/evaluate/flags",
    ) -> httpx.Response:
        """One flag when a key is given, else all."""
        credentials = {} if raw is None else {"Authorization": f"Bearer {raw}"}
        transport = httpx.ASGITransport(app=self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://portal") as client:
            request = client.build_request(
                method,
                path if key is None else f"{path}/{key}",
                headers=credentials | (headers or {}),
                **({"content": body} if body is not None else {"json": {"context": context or {}}}),
            )
            return await client.send(request)
