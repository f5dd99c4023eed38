"""Advice: made by the rules, decided by people, and its saving measured once it was applied."""

import math
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.db import connection, transaction

from monitoring import savings
from monitoring.histogram import bounded, summed
from monitoring.models import Alert, Recommendation, ScalingPolicy, Series, UnitCost
from monitoring.queries import findings, histories
from monitoring.queries.histories import Measured
from monitoring.savings import Finding, Saving
from portal import audit, jobs, live, permissions, states
from portal.audit import Actor, Automaton
from portal.errors import Refused
from portal.models import Environment, Service

log = structlog.get_logger(__name__)

BY = Automaton("advice")
Rule, Status = Recommendation.Rule, Recommendation.Status
WEEK, HOUR = timedelta(days=7), timedelta(hours=1)
# A change needs a day until its effect is seen; then a week is measured.
SETTLES = timedelta(days=1)
# What was dismissed, or applied, is not advised again for so long.
QUIET = {Status.DISMISSED: timedelta(days=90), Status.APPLIED: timedelta(days=30)}
LOCK = 0x0F1A_6502  # any number that nobody else locks: one looks at a time
MOST = 200  # measured in one cycle
AGAIN_AFTER = HOUR


def look(*, now: datetime | None = None) -> int:
    """Make, renew and end recommendations by what the rules find now. How many there are."""
    now = now or jobs.database_now()
    found, failed = _found(now)
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [LOCK])
            if not cursor.fetchone()[0]:
                return 0
        pending = {one.key: one for one in Recommendation.objects.pending()}
        quiet = _quiet(set(found) - set(pending), now)
        services = {one.key: one for one in Service.objects.all()}
        environments = {one.key: one for one in Environment.objects.all()}
        for key, finding in found.items():
            place = {
                "service": services.get(finding.service),
                "environment": environments.get(finding.environment),
            }
            try:
                with transaction.atomic():
                    if key in pending:
                        _renew(pending[key], finding, now)
                    elif key not in quiet:
                        _make(key, finding, now, **place)
            except Exception:
                log.exception("advice.finding_failed", key=key)
        for key, one in pending.items():
            if key not in found and one.rule not in failed and one.status == Status.OPEN:
                states.move(one, Status.OBSOLETE, by=BY, because="it holds no longer", decided_at=now)
                live.announce("recommendations", id=one.pk)
    return len(found)


def accept(recommendation: Recommendation, *, by: Actor, because: str = "") -> None:
    """Somebody will see to it."""
    _decide(recommendation, Status.ACCEPTED, by, because)


def apply(recommendation: Recommendation, *, by: Actor, because: str = "") -> None:
    """It is done. What it saves is measured by the week that follows the next day."""
    now = jobs.database_now()
    due = None if recommendation.rule == Rule.SILENT_THRESHOLD else now + SETTLES + WEEK
    _decide(recommendation, Status.APPLIED, by, because, applied_at=now, due_at=due)


def dismiss(recommendation: Recommendation, *, by: Actor, because: str) -> None:
    """It is not wanted, and why. The same is not advised again for 90 days."""
    if not because:
        raise Refused("say why it is dismissed")
    _decide(recommendation, Status.DISMISSED, by, because)


def measure_due(*, now: datetime | None = None) -> int:
    """Measure the saving of everything that was applied long enough ago. How many there were."""
    done = 0
    while done < MOST and _measure_one(now):
        done += 1
    return done


def totals(rows: Iterable[Recommendation]) -> list[dict[str, Any]]:
    """By unit: expected of what is pending, expected and measured of what was applied, in 30 days."""
    found: dict[str, dict[str, Any]] = {}
    for one in rows:
        if one.status not in (Status.OPEN, Status.ACCEPTED, Status.APPLIED) or one.rule == Rule.SILENT_THRESHOLD:
            continue
        line = found.setdefault(
            one.unit, {"unit": one.unit, "pending": 0.0, "applied": 0.0, "saved": 0.0, "measured": 0, "unknown": 0}
        )
        if one.status != Status.APPLIED:
            line["pending"] += one.expected or 0.0
            continue
        line["applied"] += one.expected or 0.0
        if one.saved is not None:
            line["saved"] += one.saved
            line["measured"] += 1
        else:
            line["unknown"] += 1
    return [found[unit] for unit in sorted(found)]


def _found(now: datetime) -> tuple[dict[str, Finding], set[str]]:
    """What the rules find, by key, and the rules that failed: what these found before is not over because of that."""
    found: dict[str, Finding] = {}
    failed = set()
    for rule, finds in findings.RULES.items():
        try:
            with transaction.atomic():
                found |= {f"{one.rule}:{one.subject}"[:250]: one for one in finds(now)}
        except Exception:
            log.exception("advice.rule_failed", rule=rule)
            failed.add(rule)
    return found, failed


def _make(key: str, finding: Finding, now: datetime, **place: Any) -> None:
    made = Recommendation.objects.create(
        key=key,
        rule=finding.rule,
        title=finding.title[:300],
        advice=finding.advice,
        evidence=dict(finding.evidence),
        unit=finding.unit,
        expected=finding.expected,
        made_at=now,
        seen_at=now,
        **place,
    )
    after = {"expected": finding.expected, "unit": finding.unit, "evidence": dict(finding.evidence)}
    audit.record("recommendation.made", made, by=BY, after=after, because=finding.advice)
    live.announce("recommendations", id=made.pk)


def _renew(one: Recommendation, finding: Finding, now: datetime) -> None:
    """The figures as they are now; what somebody has accepted stays as it was when they did."""
    one.seen_at = now
    if one.status == Status.OPEN:
        one.title, one.advice, one.evidence = finding.title[:300], finding.advice, dict(finding.evidence)
        one.unit, one.expected = finding.unit, finding.expected
    one.save(update_fields=["seen_at", "title", "advice", "evidence", "unit", "expected"])


def _quiet(keys: set[str], now: datetime) -> set[str]:
    rows = Recommendation.objects.filter(key__in=keys, status__in=QUIET, decided_at__isnull=False)
    return {
        key
        for key, status, at in rows.values_list("key", "status", "decided_at")
        if at is not None and now - at < QUIET[Status(status)]
    }


def _decide(recommendation: Recommendation, to: str, by: Actor, because: str, **changes: Any) -> None:
    permissions.require(
        by,
        "operate",
        environment=recommendation.environment or permissions.ANY,
        service=recommendation.service or permissions.ANY,
    )
    with transaction.atomic():
        known = {"decided_by": audit.describe(by)[:200], "decided_at": jobs.database_now(), "said": because}
        moved = states.move(recommendation, to, by=by, because=because, **known, **changes)
        if moved:
            live.announce("recommendations", id=recommendation.pk)


def _measure_one(now: datetime | None) -> bool:
    with transaction.atomic():
        at = now or jobs.database_now()
        due = Recommendation.objects.filter(status=Status.APPLIED, due_at__lte=at).order_by("due_at")
        one = jobs.claim(due.select_related("service", "environment"))
        if one is None:
            return False
        try:
            with transaction.atomic():
                _write(one, _measure(one, at), at)
        except Exception:
            # One that cannot be measured must not keep the others from theirs; it is tried again.
            log.exception("advice.measuring_failed", recommendation=one.pk)
            Recommendation.objects.filter(pk=one.pk).update(due_at=at + AGAIN_AFTER)
        return True


def _write(one: Recommendation, found: Saving, at: datetime) -> None:
    """What was measured, into its fields."""
    one.saved, one.measured_because, one.measured_at, one.due_at = found.saved, found.reason, at, None
    one.save(update_fields=["saved", "measured_because", "measured_at", "due_at"])
    after = {"saved": found.saved, "unit": one.unit}
    audit.record("recommendation.measured", one, by=BY, after=after, because=found.reason)
    live.announce("recommendations", id=one.pk)


def _measure(one: Recommendation, now: datetime) -> Saving:
    assert one.applied_at is not None
    match one.rule:
        case Rule.OVER_PROVISIONED:
            return _instances(one, now)
        case Rule.NOISY_THRESHOLD:
            return _false_alerts(one)
        case Rule.LOW_HIT_RATE:
            metric = one.evidence["metric"].replace(findings.HITS, findings.MISSES)
            return _weeks(one, Measured(metric, "increase", _place(one)), now, words="misses")
        case Rule.ERROR_PRONE:
            label = {one.evidence["label"]: one.evidence["endpoint"]}
            return _weeks(
                one, Measured(one.evidence["metric"], "increase", {**_place(one), **label}), now, words="errors"
            )
        case Rule.UNWATCHED_METRIC:
            before = one.evidence["series"]
            rows = Series.objects.filter(metric__name=one.evidence["metric"], last_time__gte=now - SETTLES)
            after = rows.count()
            return Saving(float(before - after), f"{before} series before it was applied, {after} now")
        case _:
            return Saving(None, "of this nothing can be measured")


def _instances(one: Recommendation, now: datetime) -> Saving:
    """In the unit that was expected: by the cost itself where a metric says it, else by instances at their price."""
    cost = UnitCost.objects.filter(service=one.service, environment=one.environment).first()
    in_money = one.unit != "instances"
    if in_money and (cost is None or cost.currency != one.unit):
        return Saving(None, f"unknown: nothing says any more what it costs in {one.unit}")
    if in_money and cost is not None and cost.metric:
        return _weeks(one, Measured(cost.metric, cost.aggregation, _place(one)), now, words="the cost")
    policy = ScalingPolicy.objects.filter(key=one.key.partition(":")[2]).order_by("-active", "-id").first()
    if policy is None or not policy.instances_metric:
        return Saving(None, "unknown: no metric says what it costs or how many instances there are")
    before, after = _halves(one, Measured(policy.instances_metric, "mean", _place(one)), now)
    known = [len(some) / (WEEK / HOUR) for some in (before, after)]
    price = cost.instance_price if in_money and cost is not None and cost.instance_price else 1.0
    words = f"instances at {price:g} {one.unit}" if in_money else "instances"
    means = [summed(some) / len(some) if some else None for some in (before, after)]
    found = savings.saving(means[0], means[1], before_known=known[0], after_known=known[1], words=words)
    if found.saved is None:
        return found
    # A mean is no sum: it is as many in 30 days as in one.
    return Saving(bounded(found.saved * savings.WEEK / savings.MONTH * price), found.reason)


def _false_alerts(one: Recommendation) -> Saving:
    rows = Alert.objects.filter(threshold=one.evidence["threshold"], false_at__isnull=False)
    (before, upto), (since, after) = _spans(one)
    was = rows.filter(fired_at__gte=before, fired_at__lt=upto).count()
    became = rows.filter(fired_at__gte=since, fired_at__lt=after).count()
    return savings.saving(float(was), float(became), words="false alerts")


def _weeks(one: Recommendation, measured: Measured, now: datetime, *, words: str) -> Saving:
    before, after = _halves(one, measured, now)
    known = [len(some) / (WEEK / HOUR) for some in (before, after)]
    return savings.saving(
        summed(before) if before else None,
        summed(after) if after else None,
        before_known=known[0],
        after_known=known[1],
        words=words,
    )


def _halves(one: Recommendation, measured: Measured, now: datetime) -> tuple[list[float], list[float]]:
    """The values of each hour in the week before, and in the week after."""
    (since, upto), (begin, end) = _spans(one)
    window = timedelta(hours=math.ceil((now - since) / HOUR))
    points = histories.of([measured], window=window, step=HOUR, now=now)[0]
    return (
        [value for at, value in points if since <= at < upto],
        [value for at, value in points if begin <= at < end],
    )


def _spans(one: Recommendation) -> tuple[tuple[datetime, datetime], tuple[datetime, datetime]]:
    assert one.applied_at is not None
    begin = one.applied_at + SETTLES
    return (one.applied_at - WEEK, one.applied_at), (begin, begin + WEEK)


def _place(one: Recommendation) -> dict[str, str]:
    found = {"service": one.service.key} if one.service else {}
    return found | ({"environment": one.environment.key} if one.environment else {})
