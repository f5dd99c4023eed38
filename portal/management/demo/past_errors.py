"""What failed in the month: a handful of errors, some mended, one back again, and the one that took a release back."""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings

from monitoring import grouping
from monitoring.actions import error_groups, errors
from monitoring.models import ErrorGroup, ErrorHour, ErrorRelease
from portal.audit import Automaton
from portal.demo import people, scene
from portal.demo.failures import VOUCHER
from portal.management.demo.cast import AUTOMATON
from portal.management.demo.past_places import World
from portal.management.demo.story import Ending, Run

LEAST = timedelta(minutes=3)  # since the last one: what comes later is the running service's
RECENT_MARGIN = timedelta(minutes=10)
Status = ErrorGroup.Status

BANK_STACK = """Traceback (most recent call last):
  File "/srv/payments/payments/refunds.py", line 88, in charge
    answer = self.gateway.send(order)
  File "/srv/payments/payments/bank/gateway.py", line 41, in send
    connection.request("POST", self.path, body)
  File "/usr/lib/python3.13/http/client.py", line 1336, in request
    self._send_request(method, url, body, headers, encode_chunked)
ConnectionResetError: [Errno 104] Connection reset by peer
"""
STREET_STACK = """TypeError: Cannot read properties of undefined (reading 'street')
    at validate (https://shop.example.com/static/js/address.4f1c9a2b.js:1:18233)
    at AddressForm.onInput (https://shop.example.com/static/js/address.4f1c9a2b.js:1:20718)
    at HTMLUnknownElement.callCallback (https://shop.example.com/node_modules/react-dom/index.js:4:2210)
"""
PRICE_STACK = """com.example.shop.prices.PriceMissing: no price for article 88120
\tat com.example.shop.prices.PriceBook.of(PriceBook.java:57)
\tat com.example.shop.cart.Lines.total(Lines.java:112)
\tat java.base/java.util.stream.ReferencePipeline.collect(ReferencePipeline.java:682)
"""
SHARD_STACK = """goroutine 812 [running]:
main.(*Shard).query(0xc000186000, {0xc00011c0c0, 0x1a})
\t/srv/search/shard.go:203 +0x1b4
main.(*Index).Find(0xc0000b2000)
\t/srv/search/index.go:77 +0x9d
"""
QUERY_STACK = """Traceback (most recent call last):
  File "/srv/search/front/parsing.py", line 23, in words
    text = raw.decode()
UnicodeDecodeError: 'utf-8' codec can't decode byte 0xed in position 4: invalid continuation byte
"""


@dataclass(frozen=True, slots=True)
class Told:
    """One error of the month. `since` and `until` are days ago; `version`: it began with that release."""

    service: str
    type: str
    message: str
    stack: str
    severity: str
    a_day: float
    since: float
    until: float = 0.0
    version: str = ""
    status: str = Status.OPEN
    by: str = ""
    because: str = ""
    back: str = ""  # the release in which it came again
    assignee: str = ""


ERRORS = (
    Told(
        "checkout", VOUCHER.type, VOUCHER.message, VOUCHER.stack, VOUCHER.severity, 22, 24, assignee="sam",
        version="2026.36",
    ),
    Told(
        "checkout", "PriceMissing", "no price for article 88120", PRICE_STACK, "error", 9, 28,
        back="2026.45", by="dana", because="the price book is read again before the total is made",
    ),
    Told(
        "search", "shard timeout", "shard 7 did not answer within 2.0 s", SHARD_STACK, "warning", 60, 30,
        assignee="olga",
    ),
    Told(
        "search", "UnicodeDecodeError", "'utf-8' codec can't decode byte 0xed in position 4", QUERY_STACK, "info", 35,
        30, status=Status.IGNORED, by="olga", because="robots with broken queries; people do not type these",
    ),
    Told("payments", "CardDeclined", "the issuer declined: insufficient funds", "", "warning", 40, 0.6),
)  # fmt: skip


def write(world: World, story: Sequence[Run]) -> int:
    """Groups with the hours of their month; what lies within the last two days comes in as any report does."""
    dice = random.Random(52)
    return sum(_write(world, story, told, dice) for told in (*ERRORS, *_of_faults(world, story)))


def _of_faults(world: World, story: Sequence[Run]) -> Iterator[Told]:
    """What made the portal take two releases back."""
    for run in story:
        if run.ending != Ending.ROLLED_BACK or run.fault is None:
            continue
        began = (world.now - (run.ended_at - run.fault.seen)) / timedelta(days=1)
        ended = (world.now - run.ended_at) / timedelta(days=1)
        is_bank = run.service == "payments"
        yield Told(
            service=run.service,
            type="ConnectionResetError" if is_bank else "TypeError",
            message="[Errno 104] Connection reset by peer"
            if is_bank
            else "Cannot read properties of undefined (reading 'street')",
            stack=BANK_STACK if is_bank else STREET_STACK,
            severity="critical",
            a_day=(180 if is_bank else 140) / max(began - ended, 1e-6),
            since=began,
            until=ended,
            version=run.version,
            status=Status.RESOLVED,
            by=run.captain,
            because=run.fault.lesson,
        )


def _write(world: World, story: Sequence[Run], told: Told, dice: random.Random) -> int:
    moments = list(_moments(world, told, dice))
    if not moments:
        return 0
    customers = people.population()
    recent = world.now - timedelta(hours=settings.PORTAL_RAW_RETENTION_HOURS) + RECENT_MARGIN
    group = _group(world, told, moments)
    units = [dice.choice(customers).key for _ in moments]
    older = [at for at in moments if at < recent]
    _count(group, older, story, told)
    reports = [
        {
            "type": told.type, "message": told.message, "stack": told.stack, "severity": told.severity,
            "service": told.service, "environment": scene.ENVIRONMENT, "release": _release(story, told, at),
            "unit": unit, "time": at, "key": f"demo-{group.pk}-{place}",
        }
        for place, (at, unit) in enumerate(zip(moments, units, strict=True)) if at >= recent
    ]  # fmt: skip
    if reports:
        done = errors.record(reports, by=Automaton(AUTOMATON), now=world.now)
        assert not done.errors, done.errors
    met = len({unit for at, unit in zip(moments, units, strict=True) if at < recent})
    group.refresh_from_db()
    group.users += met
    group.first_seen, group.last_seen = moments[0], moments[-1]
    group.first_release, group.last_release = (_release(story, told, at) for at in (moments[0], moments[-1]))
    _say(world, story, told, group, moments)
    group.save()
    return len(moments)


def _moments(world: World, told: Told, dice: random.Random) -> Iterator[datetime]:
    """When it came: as the shop's tide has it, until a moment ago."""
    at = world.now - timedelta(days=told.since)
    end = min(world.now - timedelta(days=told.until), world.now - LEAST)
    while (at := at + timedelta(days=dice.expovariate(told.a_day))) < end:
        if dice.random() < scene.tide(at) and not _was_mended(world, told, at):
            yield at


def _was_mended(world: World, told: Told, at: datetime) -> bool:
    """One that is back again had been away for ten days."""
    return bool(told.back) and timedelta(days=4) < world.now - at < timedelta(days=14)


def _group(world: World, told: Told, moments: Sequence[datetime]) -> ErrorGroup:
    made = grouping.group(told.type, told.message, stack=told.stack)
    return ErrorGroup.objects.create(
        service=world.services[told.service],
        environment=world.environments[scene.ENVIRONMENT],
        fingerprint=made.fingerprint,
        type=told.type,
        message=told.message,
        culprit=made.culprit,
        severity=told.severity,
        first_seen=moments[0],
        last_seen=moments[0],
        created_at=moments[0],
    )


def _count(group: ErrorGroup, moments: Sequence[datetime], story: Sequence[Run], told: Told) -> None:
    hours = Counter(at.replace(minute=0, second=0, microsecond=0) for at in moments)
    ErrorHour.objects.bulk_create(ErrorHour(group=group, hour=hour, count=count) for hour, count in hours.items())
    seen: dict[str, list[datetime]] = {}
    for at in moments:
        if release := _release(story, told, at):
            seen.setdefault(release, []).append(at)
    ErrorRelease.objects.bulk_create(
        ErrorRelease(group=group, release=release, first_seen=some[0], last_seen=some[-1], count=len(some))
        for release, some in seen.items()
    )
    ErrorGroup.objects.filter(pk=group.pk).update(count=len(moments))


def _release(story: Sequence[Run], told: Told, at: datetime) -> str:
    """What was in production at that moment; a fault is its own release's."""
    if told.status == Status.RESOLVED:
        return told.version
    done = [
        run.version
        for run in story
        if (run.service, run.environment) == (told.service, scene.ENVIRONMENT)
        and run.ending == Ending.SUCCEEDED
        and run.ended_at <= at
    ]
    return done[-1] if done else ""


def _say(world: World, story: Sequence[Run], told: Told, group: ErrorGroup, moments: Sequence[datetime]) -> None:
    """What people, and the portal, said of it: on the row and in the trail."""
    tell = world.chronicle.tell
    if told.assignee:
        group.assignee = world.people[told.assignee]
        tell(
            "errorgroup.assigned", group, at=moments[0] + timedelta(hours=1), by=group.assignee,
            before={"assignee": None}, after={"assignee": told.assignee},
        )  # fmt: skip
    if not told.by:
        return
    who, first = world.people[told.by], Status.RESOLVED if told.back else told.status
    at = world.now - timedelta(days=14) if told.back else max(moments[0], moments[-1] - timedelta(days=20))
    if told.status == Status.RESOLVED:
        at = moments[-1] + timedelta(hours=1)
    tell(
        f"errorgroup.{first}", group, at=at, by=who, because=told.because,
        before={"status": Status.OPEN}, after={"status": first},
    )  # fmt: skip
    group.status, group.status_by, group.status_because = first, str(who), told.because
    group.resolved_at = at if first == Status.RESOLVED else None
    if not told.back:
        return
    again = next(moment for moment in moments if moment > at)
    because = f"it came again in {_release(story, told, again)}"
    tell(
        "errorgroup.open", group, at=again, by=error_groups.BY, because=because,
        before={"status": Status.RESOLVED}, after={"status": Status.OPEN, "regressed_at": again},
    )  # fmt: skip
    group.status, group.status_by, group.status_because = Status.OPEN, str(error_groups.BY), because
    group.resolved_at, group.regressed_at = None, again
