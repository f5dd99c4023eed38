"""What the checkout's machines said of themselves: a month of hours, and samples as long as those are kept."""

import random
from collections.abc import Iterator
from datetime import datetime, timedelta

from django.conf import settings

from monitoring.actions import samples, series
from monitoring.actions.series import Wanted
from monitoring.models import HourRollup, Metric, MinuteRollup, Series
from portal.demo import scene
from portal.management.demo.past_places import World

METRICS = (
    (scene.DISK, "GB", "lower_is_better", "What is used of the disk of the orders"),
    (scene.CPU, "%", "lower_is_better", "How busy each machine is"),
    (scene.INSTANCES, "", "neither", "How many machines there are"),
    (scene.COST, "EUR", "lower_is_better", "What the machines cost, minute by minute"),
)
HOURS = timedelta(days=35)
EVERY = timedelta(minutes=5)  # of the samples
MINUTE = timedelta(minutes=1)  # the cost is that of each minute, and is added up
# The scaling looks at quarters of an hour.
QUARTERS = timedelta(days=7)
NOISE = {scene.DISK: 0.002, scene.CPU: 0.04}


def write(world: World) -> None:
    """Rollups as the sweep would have left them, then samples; what comes after they say themselves."""
    dice = random.Random(17)
    labels = {"service": scene.SERVICE, "environment": scene.ENVIRONMENT}
    for name, unit, direction, description in METRICS:
        fields = {"type": "gauge", "unit": unit, "direction": direction, "description": description}
        metric = Metric.objects.create(name=name, created_at=world.began, **fields)
        world.chronicle.tell("metric.defined", metric, at=world.began, by=world.by("olga"), after=fields)
    wanted: dict[series.Key, Wanted] = {
        (name, tuple(labels.items()), None): Wanted(name, labels, False) for name, *_ in METRICS
    }
    series.resolve(wanted)
    kept = timedelta(hours=settings.PORTAL_RAW_RETENTION_HOURS - 1)
    hour = (world.now - kept).replace(minute=0, second=0, microsecond=0)
    ids = {}
    for (name, _, _), one in wanted.items():
        assert isinstance(one.found, series.Known), one.found
        ids[name] = one.found.id
    for name, pk in ids.items():
        hours = _steps(hour - HOURS, hour, timedelta(hours=1))
        HourRollup.objects.bulk_create(HourRollup(**_row(pk, name, at, 60, dice)) for at in hours)
    quarters = _steps(hour - QUARTERS, hour, timedelta(minutes=15))
    MinuteRollup.objects.bulk_create(MinuteRollup(**_row(ids[scene.CPU], scene.CPU, at, 1, dice)) for at in quarters)
    said = [
        (pk, at, _value(name, at, dice), None)
        for name, pk in ids.items()
        for at in _steps(hour, world.now, MINUTE if name == scene.COST else EVERY)
    ]
    samples.store(said)
    Series.objects.filter(pk__in=ids.values()).update(last_time=world.now, created_at=hour - HOURS)


def _steps(since: datetime, until: datetime, step: timedelta) -> Iterator[datetime]:
    while since < until:
        yield since
        since += step


def _value(name: str, at: datetime, dice: random.Random) -> float:
    return scene.machines(at)[name] * dice.gauss(1, NOISE.get(name, 0.0))


def _row(pk: int, name: str, at: datetime, count: int, dice: random.Random) -> dict[str, object]:
    value = _value(name, at, dice)
    return {
        "series_id": pk,
        "time": at,
        "samples": count,
        "count": count,
        "total": value * count,
        "squares": 0.0,
        "low": value,
        "high": value,
        "first": value,
        "last": value,
        "first_time": at,
        "last_time": at,
        "increase": None,
        "histogram": None,
    }
