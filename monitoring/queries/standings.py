"""How a metric stands against its limit, from its rollups."""

import math
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from django.conf import settings

from monitoring import forecasting, limits
from monitoring.histogram import summed
from monitoring.limits import Standing
from monitoring.models import Capacity
from monitoring.queries import histories, outlooks, rollups
from monitoring.queries.histories import Measured
from monitoring.queries.outlooks import Outlook

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
YEAR = timedelta(days=365)


def measured(capacity: Capacity) -> Measured:
    return Measured(capacity.metric, capacity.aggregation, capacity.matchers)


def standing(capacity: Capacity, *, now: datetime) -> tuple[Standing, Outlook]:
    """Where it stands, and the history and forecast that say so."""
    if capacity.kind == Capacity.Kind.BUDGET:
        return _budget(capacity, now)
    until = now + capacity.horizon * DAY
    found = outlooks.outlook(measured(capacity), until=until, now=now)
    return (
        limits.capacity(found.forecast, limit=capacity.limit, share=capacity.share, value=found.value, until=until),
        found,
    )


def month(now: datetime) -> tuple[datetime, datetime]:
    """The calendar month of the portal's zone that the time lies in."""
    local = now.astimezone(ZoneInfo(settings.PORTAL_ZONE))
    first = local.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    following = (first + timedelta(days=32)).replace(day=1)
    return first, following


def _budget(capacity: Capacity, now: datetime) -> tuple[Standing, Outlook]:
    since, until = month(now)
    upto = rollups.floor(now, 3600)
    elapsed = max(round((upto - since) / HOUR), 0)
    hours = []
    if elapsed:
        window = timedelta(hours=math.ceil((upto - since) / HOUR))
        hours = histories.of([measured(capacity)], window=window, step=HOUR, now=now)[0]
    spent = summed(value for at, value in hours if at >= since)
    known = len(hours) / elapsed if elapsed else 1.0
    found = _ahead(capacity, until, now)
    made = limits.budget(
        found.forecast,
        limit=capacity.limit,
        spent=spent,
        known=min(known, 1.0),
        since=upto,
        until=until,
        step=found.step.total_seconds(),
    )
    return made, found


def _ahead(capacity: Capacity, until: datetime, now: datetime) -> Outlook:
    """By whole days where there are enough of them: the intervals of hours, added up, would say nothing."""
    for window, step in ((YEAR, DAY), (28 * DAY, HOUR)):
        points = histories.of([measured(capacity)], window=window, step=step, now=now)[0]
        if points and rollups.floor(now, int(step.total_seconds())) - points[-1][0] > 3 * step:
            points = []  # what is that old says nothing of what is to come
        made = forecasting.forecast(points, step=step, until=until, least=0.0)
        if made.known:
            break
    return Outlook(points, step, until, made)
