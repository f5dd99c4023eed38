"""OFREP, the OpenFeature Remote Evaluation Protocol 0.3: answered from memory, in front of Django."""

import asyncio
import hashlib
import math
import time
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Protocol
from urllib.parse import parse_qs

import orjson
import structlog
from django.conf import settings

from portal.figures import EVALUATIONS
from portal.keys import KeyInfo, Ring, presented
from portal.limits import Limiter
from portal.models import ApiKey
from rollouts.actions.tally import Tally
from rollouts.api.contexts import fault_of
from rollouts.api.ofrep_answers import (
    FRESH,
    FRESH_FROM_NO_PAGE,
    GENERAL,
    INVALID_CONTEXT,
    NO_STORE,
    PARSE_ERROR,
    SHARED,
    Failed,
    Receive,
    Scope,
    Send,
    answer,
    fail,
    preflight,
    retry,
)
from rollouts.api.ofrep_streams import PATH as STREAM
from rollouts.api.ofrep_streams import Streams
from rollouts.engine.evaluate import evaluate, evaluate_all
from rollouts.engine.types import ErrorCode, Flag, Result, Snapshot

log = structlog.get_logger(__name__)

BULK = "/ofrep/v1/evaluate/flags"
SINGLE = f"{BULK}/"
LARGEST_BODY = 64 * 1024  # bytes
MOST_CALLERS = 1000  # kept; there are as many ways to write one key as there are blanks
SINGLES, BULKS = EVALUATIONS.labels("single"), EVALUATIONS.labels("bulk")
BEFORE_OTHERS = 500  # flags evaluated for one request before others get their turn
CATCHES_UP_WITHIN = 1.0  # seconds that a client waits for the change that it was told of
PREFLIGHT = preflight(b"POST, OPTIONS", b"Authorization, Content-Type, If-None-Match, X-API-Key")


class Held(Protocol):
    """What this process holds: the loader, as it is seen from here."""

    ring: Ring

    @property
    def ready(self) -> bool: ...

    def find(self, environment: str) -> Snapshot | None: ...

    async def catch_up(self, *, version: int, since: float, within: float) -> None: ...

    def watch(self, watcher: Callable[[], None]) -> None: ...


class Ofrep:
    """The ASGI application for /ofrep/…. No database, no Django middleware: it answers while they are down."""

    def __init__(self, loader: Held, tally: Tally) -> None:
        self.loader, self.tally = loader, tally
        self.limiter = Limiter(settings.PORTAL_KEY_RATE)
        self.streams = Streams(loader, self.limiter)
        # Callers by the headers that made them known, of the keys that this was.
        self.callers: dict[tuple[bytes, bytes], tuple[KeyInfo, str | None]] = {}
        self.callers_of = loader.ring.by_digest
        loader.watch(self.streams.look)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        key = path[len(SINGLE) :] if path.startswith(SINGLE) else None
        try:
            if scope["method"] != "POST" or (key is None and path != BULK):
                await self._no_evaluation(scope, receive, send, key)
                return
            headers: dict[bytes, bytes] = dict(scope["headers"])
            caller, snapshot = self._admit(headers)
            length = headers.get(b"content-length", b"0")
            if length.isdigit() and int(length) > LARGEST_BODY:
                raise Failed(400, PARSE_ERROR, f"the body is larger than {LARGEST_BODY} bytes")
            message = await receive()
            body: bytes = message.get("body", b"")
            if message.get("more_body"):
                body = await _whole(body, receive)
            context = _context(body)
            if key is None:
                held = ",".join(value.decode("latin-1") for name, value in scope["headers"] if name == b"if-none-match")
                if scope["query_string"]:
                    snapshot = await self._catch_up(scope["query_string"], snapshot)
                await self._bulk(send, snapshot, caller, context, held)
            else:
                result = self._single(snapshot, caller, context, key)
                fresh = FRESH if b"origin" in headers else FRESH_FROM_NO_PAGE
                await answer(send, 200 if result.error is None else 400, wire(result), fresh)
        except Failed as failed:
            await fail(send, key, failed)
        except Exception:
            log.exception("ofrep.failed", path=path)
            await fail(send, key, Failed(500, GENERAL, "the portal could not evaluate"))

    async def _no_evaluation(self, scope: Scope, receive: Receive, send: Send, key: str | None) -> None:
        """Event streams, a browser's preflight, and what is no request of the protocol."""
        path: str = scope["path"]
        if path == STREAM:
            await self.streams(scope, receive, send)
        elif key is None and path != BULK:
            raise Failed(404, GENERAL, f"there is nothing at {path[:200]}")
        elif scope["method"] == "OPTIONS":
            await answer(send, 204, b"", PREFLIGHT)
        else:
            raise Failed(405, GENERAL, "evaluate with POST", [(b"allow", b"POST, OPTIONS")])

    def _admit(self, headers: dict[bytes, bytes]) -> tuple[KeyInfo, Snapshot]:
        """Who calls, and the snapshot of the one environment that his key is for."""
        if not self.loader.ready:
            raise Failed(503, GENERAL, "no flags are loaded yet", [(b"retry-after", b"1")])
        given = headers.get(b"authorization", b""), headers.get(b"x-api-key", b"")
        known = self.callers.get(given) if self.callers_of is self.loader.ring.by_digest else None
        if known is None or known[0].expires_at is not None:
            known = self._recognise(given)
        caller, environment = known
        wait = self.limiter.wait(caller.id)
        if wait:
            raise Failed(429, GENERAL, f"too many requests with this key: again in {wait} s", [retry(wait)])
        if environment is None:
            said = "does not carry the scope evaluate"
            if caller.may(ApiKey.Scope.EVALUATE):
                said = "must belong to exactly one environment to evaluate"
            raise Failed(403, GENERAL, f"the API key {said}")
        snapshot = self.loader.find(environment)
        if snapshot is None:
            raise Failed(503, GENERAL, f"the flags of {environment} are not loaded yet", [retry(1)])
        return caller, snapshot

    def _recognise(self, given: tuple[bytes, bytes]) -> tuple[KeyInfo, str | None]:
        """The caller of these headers, and the environment that he may evaluate; kept until the keys change."""
        by_digest = self.loader.ring.by_digest
        raw = presented(given[0].decode("latin-1"), given[1].decode("latin-1"))
        caller = self.loader.ring.find(raw, now=datetime.now(UTC)) if raw else None
        if caller is None:
            said = "the API key is unknown, revoked or expired" if raw else "an API key is needed"
            raise Failed(401, GENERAL, said, [(b"www-authenticate", b'Bearer realm="flightdeck"')])
        if self.callers_of is not by_digest or len(self.callers) >= MOST_CALLERS:
            self.callers_of, self.callers = by_digest, {}
        environment = None
        if caller.may(ApiKey.Scope.EVALUATE) and caller.environments is not None and len(caller.environments) == 1:
            (environment,) = caller.environments
        self.callers[given] = caller, environment
        return self.callers[given]

    async def _catch_up(self, query: bytes, snapshot: Snapshot) -> Snapshot:
        """The snapshot as new as the event that the client was told of; it may have come from another process."""
        version, since = freshness(query, now=time.time())
        if version > snapshot.version or since:
            await self.loader.catch_up(version=version, since=since, within=CATCHES_UP_WITHIN)
            return self.loader.find(snapshot.environment) or snapshot
        return snapshot

    # --- Answers --------------------------------------------------------------------------------
    def _single(self, snapshot: Snapshot, caller: KeyInfo, context: dict[str, Any], key: str) -> Result:
        flag = snapshot.flags.get(key)
        if flag is None or (caller.services is not None and not _sees(caller, flag)):
            # To a key that is not for its service, a flag is not there at all.
            raise Failed(404, ErrorCode.FLAG_NOT_FOUND, f"flag {key[:200]} was not found")
        result = evaluate(snapshot, key, context, now=time.time())
        SINGLES.inc()
        self.tally.single(flag, context, result)
        return result

    async def _bulk(
        self, send: Send, snapshot: Snapshot, caller: KeyInfo, context: dict[str, Any], if_none_match: str
    ) -> None:
        now = time.time()
        keys = None
        if caller.services is not None:
            keys = [key for key, flag in snapshot.flags.items() if _sees(caller, flag)]
        deciding = evaluate_all(snapshot, context, now=now, keys=keys)
        results = list(islice(deciding, BEFORE_OTHERS))
        told = [result.wire or wire(result) for result in results]
        while len(results) % BEFORE_OTHERS == 0 and results:
            # A snapshot never changes, so what is evaluated after this fits what was evaluated before.
            await asyncio.sleep(0)
            more = list(islice(deciding, BEFORE_OTHERS))
            if not more:
                break
            results += more
            told += [result.wire or wire(result) for result in more]
        BULKS.inc(len(results))
        self.tally.bulk(snapshot.environment, context, results)
        metadata = orjson.dumps({"environment": snapshot.environment})
        streams = self.streams.address(caller, snapshot.environment, now=now)
        parts = (b'{"flags":[', b",".join(told), b'],"metadata":', metadata, b',"eventStreams":', streams, b"}")
        body = b"".join(parts)
        # Over the whole body: what no byte of the answer depends on changes no tag, and nothing else keeps one.
        tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        headers = [*SHARED, (b"etag", tag.encode()), NO_STORE]
        if if_none_match and _matches(if_none_match, tag):
            await answer(send, 304, b"", headers)
        else:
            await answer(send, 200, body, [(b"content-type", b"application/json"), *headers])


def wire(result: Result) -> bytes:
    """One flag's part of an answer. Outcomes are shared, so most are encoded once."""
    if result.wire is None:
        if result.error is None:
            body: dict[str, Any] = {
                "key": result.flag,
                "value": result.value,
                "reason": result.reason,
                "variant": result.variant,
                "metadata": result.metadata,
            }
        else:
            body = {
                "key": result.flag,
                "errorCode": result.error,
                "errorDetails": result.message,
                "metadata": result.metadata,
            }
        result.wire = orjson.dumps(body)
    return result.wire


def _matches(if_none_match: str, tag: str) -> bool:
    """Weak comparison, as RFC 9110 asks of If-None-Match."""
    return any(one.strip().removeprefix("W/") in (tag, "*") for one in if_none_match.split(","))


def _sees(caller: KeyInfo, flag: Flag) -> bool:
    """Whether the key is for the flag's service; it is not for all of them."""
    return caller.services is None or flag.service is None or flag.service in caller.services


# --- Requests -----------------------------------------------------------------------------------
async def _whole(body: bytes, receive: Receive) -> bytes:
    """A body that comes in several parts, this is the first."""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > LARGEST_BODY:
            raise Failed(400, PARSE_ERROR, f"the body is larger than {LARGEST_BODY} bytes")
        if not message.get("more_body"):
            return body


def _context(body: bytes) -> dict[str, Any]:
    """The context in a request's body; a clear no for what is none."""
    try:
        request = orjson.loads(body)
    except ValueError as error:
        raise Failed(400, PARSE_ERROR, f"the body is not JSON: {error}") from None
    if not isinstance(request, dict):
        raise Failed(400, PARSE_ERROR, "the body must be a JSON object")
    if "context" not in request:
        raise Failed(400, INVALID_CONTEXT, "context: is missing")
    fault = fault_of(request["context"])
    if fault:
        raise Failed(400, INVALID_CONTEXT, f"{fault[0]}: {fault[1]}")
    context: dict[str, Any] = request["context"]
    return context


def freshness(query: bytes, *, now: float) -> tuple[int, float]:
    """What a client says that it was told of: the version, and the moment (0 where it says none that we gave)."""
    given = parse_qs(query.decode("latin-1"))
    version = given.get("flagConfigEtag", [""])[0].partition(".")[0]
    if version.isascii() and version.isdigit() and len(version) < 19:
        return int(version), 0.0
    said = given.get("flagConfigLastModified", [""])[0]
    try:
        moment = datetime.fromisoformat(said).timestamp() if "-" in said or ":" in said else float(said)
    except (ValueError, OverflowError):
        return 0, 0.0
    # Seconds are coarse: what changed within the same one may be newer. Nobody can wait for what is to come.
    return 0, min(moment + 1, now) if 0 < moment < math.inf else 0.0
