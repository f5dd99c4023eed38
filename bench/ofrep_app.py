"""What OFREP is measured with: 100 flags in memory, and beside it an application that only reads the body."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import django

django.setup()

from portal import keys  # noqa: E402  (models need Django to be set up)
from portal.keys import KeyInfo, Ring  # noqa: E402
from rollouts.actions.tally import Tally  # noqa: E402
from rollouts.api.ofrep import Ofrep, Receive, Scope, Send  # noqa: E402
from rollouts.engine.compile import assemble, compile_flag  # noqa: E402
from rollouts.engine.conditions import Pool  # noqa: E402
from rollouts.engine.types import FlagSource, Snapshot  # noqa: E402

KEY = "fd_bench"
FLAGS = 100


def source(number: int, rules: int = 1, *, alone: bool = False) -> FlagSource:
    """One percentage flag whose rules have three conditions each; the last rule is the one that matches.

    Alone it asks what no other flag asks, so that nothing can be asked once for several.
    """
    last = rules - 1
    return FlagSource(
        f"flag-{number}",
        f"{number:032x}",
        "bool",
        [{"key": "on", "value": True}, {"key": "off", "value": False}],
        "off",
        enabled=True,
        revision=1,
        environment="production",
        rules=[
            {
                "id": f"rule-{rule}",
                "all": [
                    {"attr": "country", "op": "in", "values": ["DE", "FR", "PL"]},
                    {
                        "attr": "plan",
                        "op": "equals",
                        "values": ["pro" if rule == last else f"plan{number}-{rule}"],
                    },
                    {"attr": "age", "op": "gte", "values": [18 - number / 10_000 if alone else 18]},
                ],
                "serve": {"variant": "on", "rollout": 25_000},
            }
            for rule in range(rules)
        ],
        fallthrough={"variant": "off"},
    )


def snapshot(flags: int, rules: int = 1, *, alone: bool = False) -> Snapshot:
    """Compiled one by one as the loader does, from what was read of each and is gone then."""
    pool = Pool()
    compiled = (compile_flag(source(number, rules, alone=alone), {}, pool) for number in range(flags))
    return assemble("production", 1, {flag.key: flag for flag in compiled})


@dataclass
class Memory:
    """What a web process holds."""

    held: Snapshot
    ring: Ring = field(default_factory=Ring)
    ready: bool = True
    watchers: list[Callable[[], None]] = field(default_factory=list)

    async def catch_up(self, *, version: int, since: float, within: float) -> None:
        """It is as new as it can be."""

    def watch(self, watcher: Callable[[], None]) -> None:
        self.watchers.append(watcher)

    def find(self, environment: str) -> Snapshot | None:
        return self.held


def _memory(*, alone: bool = False) -> Memory:
    made = Memory(snapshot(FLAGS, alone=alone))
    key = KeyInfo(1, "bench", frozenset({"evaluate"}), frozenset({"production"}), None, None)
    made.ring.by_digest[keys.digest(KEY)] = key
    return made


class Emptied(Ofrep):
    """Its tally is taken each second, as the writer does; there is no store to write to."""

    taken = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if time.monotonic() - self.taken >= 1.0:
            self.taken = time.monotonic()
            self.tally.take()
        await super().__call__(scope, receive, send)


application = Emptied(_memory(), tally=Tally())
unlike = Emptied(_memory(alone=True), tally=Tally())
for one in (application, unlike):
    one.limiter.rate = 10**9
BODY = b'{"key":"flag-1","value":true,"reason":"SPLIT","variant":"on"}'


async def bare(scope: Scope, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]) -> None:
    """Reads the body, answers the same few bytes."""
    if scope["type"] == "http":
        while (await receive()).get("more_body"):
            pass
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(BODY)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": BODY})
