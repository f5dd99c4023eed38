"""One pass of the judge: claim what is due, measure it set-wise, write only what has changed."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import structlog
from django.db import DatabaseError, connection, transaction

from monitoring.actions import alerts, catching, due
from monitoring.actions.alerts import Turn
from monitoring.judging import LEVELS, Event, Phase, Reading, Step, judge, next_turn, step
from monitoring.models import AlertState, DueThreshold, Threshold
from monitoring.queries.glances import Claimed, Glances
from monitoring.queries.measurements import Look, measure, places
from portal import jobs

log = structlog.get_logger(__name__)

BATCH = 10_000  # thresholds in one pass
# A judge that is killed with what it claimed delays that by so much, however long the interval is.
LEASE = timedelta(seconds=10)
# What this process remembers from pass to pass.
glances = Glances()
BEGINNING = (Event.PENDING, Event.FIRED, Event.RAISED)

# Locks of a strength that ingest's marks (foreign keys to the threshold) do not wait for. A mark that arrives after
# this statement began stays: the sample that it stands for may be newer than what this pass will see.
CLAIM = """
WITH marked AS (
    SELECT threshold_id FROM monitoring_duethreshold FOR UPDATE SKIP LOCKED
), due AS (
    SELECT id, due_at, version, interval FROM monitoring_threshold
    WHERE active AND source = '' AND (due_at <= %(now)s OR id IN (SELECT threshold_id FROM marked))
    ORDER BY due_at LIMIT %(batch)s FOR NO KEY UPDATE SKIP LOCKED
), unmarked AS (
    DELETE FROM monitoring_duethreshold m USING due WHERE m.threshold_id = due.id
), put_off AS (
    UPDATE monitoring_threshold t
    SET due_at = %(now)s + CASE
        WHEN due.due_at <= %(now)s THEN least(make_interval(secs => t.interval), %(lease)s::interval)
        ELSE %(lease)s::interval END
    FROM due WHERE t.id = due.id AND (due.due_at <= %(now)s OR due.due_at > %(now)s + %(lease)s::interval)
)
SELECT id, version, interval FROM due
"""
# What was claimed and is judged need not be looked at again before its interval is over.
# A row that somebody holds is just being judged or changed, and put off by them: two judges never wait in a circle.
DONE = """
WITH free AS (
    SELECT id FROM monitoring_threshold
    WHERE id = ANY(%(ids)s) AND due_at = %(now)s + %(lease)s::interval FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE monitoring_threshold t SET due_at = %(now)s + make_interval(secs => t.interval) FROM free WHERE t.id = free.id
"""

SOONER = """
WITH free AS (
    SELECT t.id, n.at FROM unnest(%s::bigint[], %s::timestamptz[]) AS n(id, at)
    JOIN monitoring_threshold t ON t.id = n.id AND t.due_at > n.at FOR NO KEY UPDATE OF t SKIP LOCKED
)
UPDATE monitoring_threshold t SET due_at = free.at FROM free WHERE t.id = free.id
"""

# A state that somebody holds is just being turned: what we saw of it is overtaken.
KEEP = """
WITH seen AS (
    SELECT * FROM unnest(
        %s::bigint[], %s::int[], %s::text[], %s::text[], %s::timestamptz[], %s::timestamptz[], %s::timestamptz[],
        %s::timestamptz[], %s::timestamptz[], %s::text[], %s::text[], %s::float8[], %s::timestamptz[], %s::int[]
    ) AS n(id, version, phase, level, warning_since, error_since, critical_since,
        clear_since, seen_at, outcome, reason, value, changed_at, threshold_version)
), free AS (
    SELECT s.id FROM monitoring_alertstate s JOIN seen ON seen.id = s.id AND seen.version = s.version
    FOR NO KEY UPDATE OF s SKIP LOCKED
)
UPDATE monitoring_alertstate s SET version = s.version + 1, phase = n.phase, level = n.level,
    warning_since = n.warning_since, error_since = n.error_since, critical_since = n.critical_since,
    clear_since = n.clear_since, seen_at = n.seen_at, outcome = n.outcome, reason = n.reason, value = n.value,
    changed_at = n.changed_at, threshold_version = n.threshold_version
FROM seen n, free WHERE s.id = n.id AND s.id = free.id AND s.version = n.version
"""
KEPT = (
    *("id", "version", *AlertState.STANDING),
    *("outcome", "reason", "value", "changed_at", "threshold_version"),
)


def run(*, now: datetime | None = None) -> int:
    """Judge what is due, as things are now: what was missed is not replayed. How many thresholds were judged."""
    now = now or jobs.database_now()
    claimed = claim(now=now)
    left = glances.left(claimed, now=now)
    soon = _look_at(load(left), now) if left else {}
    _finish(claimed, now)
    _look_again(soon)
    return len(claimed)


def _look_at(thresholds: Sequence[Threshold], now: datetime) -> dict[int, datetime]:
    """Judge these, whatever it takes. Which are to be looked at before their interval is over, and when."""
    looks = measure(thresholds, now=now)
    states = _states(thresholds)
    turns: list[Turn] = []
    quiet: list[AlertState] = []
    soon: dict[int, datetime] = {}
    moved: set[int] = set()
    resting: list[Threshold] = []
    for threshold in thresholds:
        state = states.get(threshold.pk)
        if state is None:
            continue  # removed in this very moment
        reading, step_ = _look(threshold, state, looks[threshold.pk], now)
        turns_at = next_turn(looks[threshold.pk].condition, step_.state)
        if turns_at is not None and turns_at < now + timedelta(seconds=threshold.interval):
            soon[threshold.pk] = turns_at
        if step_.event is not Event.NONE or state.outcome != reading.verdict.outcome:
            moved.add(threshold.pk)
        if step_.event is not Event.NONE:
            turns.append(Turn(threshold, state, step_, reading, now))
        elif _has_changed(threshold, state, step_, reading):
            state.follow(step_.state, reading, threshold_version=threshold.version, now=now)
            quiet.append(state)
        if step_.event is Event.NONE and step_.state.phase is Phase.INACTIVE:
            resting.append(threshold)
    _take(turns)
    _keep(quiet)
    due.mark_combinations(moved)
    glances.remember(resting)
    return soon


def claim(*, now: datetime) -> list[Claimed]:
    """The thresholds that are due or marked, put off and unmarked, committed at once.

    They, their samples and their states are read after that: a mark that was taken away stands for samples that are
    visible then.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        # Not waited for: a claim that is lost with the server is made again.
        cursor.execute("SET LOCAL synchronous_commit = off")
        cursor.execute(CLAIM, {"now": now, "batch": BATCH, "lease": f"{LEASE.total_seconds()} s"})
        return [Claimed(*row) for row in cursor.fetchall()]


def load(ids: Sequence[int]) -> list[Threshold]:
    return list(Threshold.objects.active().filter(pk__in=ids).select_related("service", "environment"))


def forget_all() -> None:
    """Another database: nothing of what this process remembers holds."""
    glances.forget()


def _look(threshold: Threshold, state: AlertState, look: Look, now: datetime) -> tuple[Reading, Step]:
    reading = judge(look.condition, look.measurement)
    standing = state.standing()
    if state.threshold_version != threshold.version and standing.phase is Phase.PENDING:
        # Other bounds, another wait. What fires goes on firing.
        standing = replace(standing, since={})
    return reading, step(look.condition, standing, reading, now=now)


def _has_changed(threshold: Threshold, state: AlertState, step_: Step, reading: Reading) -> bool:
    return (
        step_.state.phase is not Phase.INACTIVE
        or state.outcome != reading.verdict.outcome
        or state.threshold_version != threshold.version
        # Which members a combination waits for may change while its outcome stays.
        or (bool(threshold.members) and state.reason != reading.verdict.reason)
    )


def _states(thresholds: Sequence[Threshold]) -> dict[int, AlertState]:
    ids = [threshold.pk for threshold in thresholds]
    found = {state.threshold_id: state for state in AlertState.objects.filter(threshold__in=ids, group="")}
    missing = [pk for pk in ids if pk not in found]
    if missing:
        AlertState.objects.bulk_create([AlertState(threshold_id=pk) for pk in missing], ignore_conflicts=True)
        made = AlertState.objects.filter(threshold__in=missing, group="")
        found |= {state.threshold_id: state for state in made}
    return found


def _take(turns: Sequence[Turn]) -> None:
    """The worst first, since a response may hang on it. One that cannot be taken now holds up no other."""
    if not turns:
        return
    where = places([turn.threshold for turn in turns if turn.step.event in BEGINNING])
    definitions = catching.definitions()
    for turn in sorted(turns, key=_urgency, reverse=True):
        service, environment = where.get(turn.threshold.pk, (None, None))
        try:
            alerts.take(replace(turn, service=service, environment=environment), definitions=definitions)
        except DatabaseError:
            if connection.in_atomic_block or not connection.is_usable():
                raise
            log.exception("judging.turn_failed", threshold=turn.threshold.pk, turn=turn.step.event)
            DueThreshold.objects.get_or_create(threshold=turn.threshold)


def _urgency(turn: Turn) -> int:
    if turn.step.event not in (Event.FIRED, Event.RAISED) or turn.step.state.level is None:
        return -1
    return LEVELS.index(turn.step.state.level)


def _finish(claimed: Sequence[Claimed], now: datetime) -> None:
    leased = [one.id for one in claimed if one.interval > LEASE.total_seconds()]
    if leased:
        with connection.cursor() as cursor:
            cursor.execute(DONE, {"now": now, "ids": leased, "lease": f"{LEASE.total_seconds()} s"})


def _look_again(soon: Mapping[int, datetime]) -> None:
    """*for* and *keep firing for* end when they end, not at the next interval."""
    if soon:
        with connection.cursor() as cursor:
            cursor.execute(SOONER, [list(soon), list(soon.values())])


def _keep(states: Sequence[AlertState]) -> None:
    if not states:
        return
    columns = [[getattr(state, name) for state in states] for name in KEPT]
    with connection.cursor() as cursor:
        cursor.execute(KEEP, columns)
