"""Noting what was turned away and why, so that whoever wonders where the samples are can see it."""

import re
from collections.abc import Iterable
from datetime import datetime, timedelta

from django.db import connection

from monitoring.actions.batches import Fault, Recorded
from monitoring.models import Rejection
from monitoring.models.rejections import LONGEST_EXAMPLE, LONGEST_REASON
from portal import audit, jobs
from portal.audit import Actor
from portal.figures import REJECTED
from portal.models import ApiKey

KEPT = timedelta(days=7)
# Reasons that one call tells apart; a sender that finds more of them has the rest counted together.
MOST_REASONS = 20
OTHER = "other reasons"

# What differs from case to case: names in quotes, numbers. Without them the same mistake is the same reason.
_QUOTED = re.compile(r"(?<!\w)'[^']*'?")
_NUMBER = re.compile(r"(?<![\w.])-?\d[\d.,]*")
_PLACE = re.compile(r"[.\[].*", re.DOTALL)
_UNKEEPABLE = re.compile("[\0\ud800-\udfff]")

Add = tuple[str, int, str]  # reason, how many, example


def note(
    source: str, reason: str, *, by: Actor, count: int = 1, example: str = "", now: datetime | None = None
) -> None:
    """Count `count` things that came through `source` and were refused for `reason`.

    source names the way in ("otlp", "scrape: checkout"); example is one of them with what was wrong, in full. Names in
    quotes and numbers are taken out of the reason. Commits with the caller's transaction: note after what was good is
    kept, never inside a transaction that is rolled back.
    """
    _add(source, [(generalised(reason), count, example or reason)], by=by, now=now)


def note_faults(source: str, faults: Iterable[Fault], *, by: Actor, now: datetime | None = None) -> None:
    """Count the faults of a batch, by reason."""
    counted: dict[str, tuple[int, str]] = {}
    for fault in faults:
        # "labels.team" is a field of the sender's choice: its root is enough to tell reasons apart.
        root = _PLACE.sub("", fault.field)
        reason = generalised(f"{root}: {fault.message}" if root else fault.message)
        if reason not in counted and len(counted) >= MOST_REASONS:
            reason = OTHER
        so_far, example = counted.get(reason, (0, f"{fault.field}: {fault.message}" if fault.field else fault.message))
        counted[reason] = (so_far + 1, example)
    _add(source, [(reason, many, example) for reason, (many, example) in counted.items()], by=by, now=now)


def noted(source: str, outcome: Recorded, *, by: Actor) -> Recorded:
    """The outcome of a batch, whose faults are counted."""
    note_faults(source, outcome.errors, by=by)
    return outcome


def generalised(reason: str) -> str:
    """The reason without the names and numbers of the single case, which would make each case a reason of its own."""
    return _NUMBER.sub("N", _QUOTED.sub("'…'", _kept(reason)))[:LONGEST_REASON]


def forget_old(*, now: datetime | None = None) -> int:
    """Drop what is older than a week."""
    return Rejection.objects.filter(minute__lt=(now or jobs.database_now()) - KEPT).delete()[0]


def _add(source: str, counted: list[Add], *, by: Actor, now: datetime | None) -> None:
    if not counted:
        return
    REJECTED.labels(source.partition(":")[0][:100]).inc(sum(many for _, many, _ in counted))
    minute = (now or jobs.database_now()).replace(second=0, microsecond=0)
    # In one order, so that two senders' statements wait for each other instead of deadlocking.
    rows = sorted(counted)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO monitoring_rejection (source, sender, minute, environment_id, reason, count, example) "
            "SELECT %s, %s, %s, %s, * FROM unnest(%s::text[], %s::bigint[], %s::text[]) "
            "ON CONFLICT (minute, source, sender, reason) DO UPDATE "
            "SET count = monitoring_rejection.count + excluded.count",
            [
                source[:100],
                audit.describe(by)[:200],
                minute,
                _environment(by),
                [reason for reason, _, _ in rows],
                [many for _, many, _ in rows],
                [_kept(example)[:LONGEST_EXAMPLE] for _, _, example in rows],
            ],
        )


def _environment(by: Actor) -> int | None:
    if isinstance(by, ApiKey) and not by.all_environments:
        bound = list(by.environments.values_list("pk", flat=True)[:2])
        return bound[0] if len(bound) == 1 else None
    return None


def _kept(text: str) -> str:
    return _UNKEEPABLE.sub("�", text)
