"""What the portal knew in the hour before: kept with the incident as it was, however soon the raw data is dropped."""

import hashlib
from datetime import datetime, timedelta
from typing import Any

import orjson
from django.db.models import F

from monitoring.models import Alert, Incident, IncidentAttachment, Rejection, ResponseRun, Series
from monitoring.models.metrics import AHEAD
from monitoring.queries import errors as questions
from monitoring.queries.points import matching
from monitoring.queries.rollups import chart
from portal import jobs

SPAN = timedelta(hours=1)
STEP = timedelta(minutes=1)
MOST_SERIES = 40
MOST_LINES = 50
MOST_ERRORS = 20


def capture(run: ResponseRun) -> IncidentAttachment:
    """In the transaction that settles the run; a second time it finds its work done."""
    known = IncidentAttachment.objects.filter(run=run).first()
    if known is not None:
        return known
    now = jobs.database_now()
    content = gather(run.incident, now=now)
    digest = hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()
    return IncidentAttachment.objects.create(
        incident=run.incident, run=run, name="diagnostics", content=content, sha256=digest
    )


def gather(incident: Incident, *, now: datetime) -> dict[str, Any]:
    """The series behind its alerts first, then others of its place; its errors, what fires, what was turned away."""
    since = now - SPAN
    chosen = _series(incident)
    # Clocks of senders may be a little ahead of ours.
    found = chart([one.pk for one in chosen], since=since, until=now + AHEAD, step=STEP, now=now)
    by_series = {line.series: line.points for line in found.lines}
    series = [
        {
            "metric": one.metric.name,
            "unit": one.metric.unit,
            "labels": one.labels,
            "points": [[int(point.time.timestamp()), point.value] for point in by_series[one.pk]],
        }
        for one in chosen
        if by_series[one.pk]
    ]
    # Of the incident's own place: whoever sees the incident may see these.
    here = {"environment": incident.environment}
    firing = Alert.objects.firing().filter(**here).select_related("threshold").order_by("-fired_at")[:MOST_LINES]
    turned_away = Rejection.objects.filter(minute__gte=since, **here).order_by("-count")[:MOST_LINES]
    return {
        "since": since.isoformat(),
        "until": now.isoformat(),
        "step": int(STEP.total_seconds()),
        "series": series,
        "series_count": len(series),
        "firing": [
            {"threshold": one.threshold.name, "level": one.level, "reason": one.reason, "labels": one.labels}
            for one in firing
        ],
        "errors": _errors(incident, since=since),
        "rejections": [{"source": one.source, "reason": one.reason, "count": one.count} for one in turned_away],
    }


def _errors(incident: Incident, *, since: datetime) -> list[dict[str, Any]]:
    """Of one service in one environment alone: of a wider place not everybody who sees the incident may see them."""
    if incident.service is None or incident.environment is None:
        return []
    found = questions.recent(incident.service, incident.environment, since=since, most=MOST_ERRORS)
    return [
        {
            "id": one.group.pk,
            "type": one.group.type,
            "message": one.group.message,
            "culprit": one.group.culprit,
            "severity": one.group.severity,
            "release": one.group.last_release,
            "count": one.count,
            "new": one.group.first_seen >= since,
            "regressed": one.group.regressed_at is not None and one.group.regressed_at >= since,
        }
        for one in found
    ]


def _series(incident: Incident) -> list[Series]:
    found: dict[int, Series] = {}
    for alert in incident.alerts.select_related("threshold").order_by("id")[:MOST_LINES]:
        for metric in filter(None, (alert.threshold.metric, alert.threshold.denominator)):
            for one in matching(metric, alert.threshold.matchers)[:MOST_SERIES]:
                found.setdefault(one.pk, one)
    where = {name: thing for name in ("service", "environment") if (thing := getattr(incident, name)) is not None}
    if where:
        # What has come of late first.
        others = (
            Series.objects.filter(**where).select_related("metric").order_by(F("last_time").desc(nulls_last=True), "pk")
        )
        for one in others[:MOST_SERIES]:
            found.setdefault(one.pk, one)
    return list(found.values())[:MOST_SERIES]
