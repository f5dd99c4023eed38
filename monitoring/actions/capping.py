"""Which names of strangers become labels: so many of one service, and the rest together as `other`."""

import threading
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import connection

from monitoring import vitals
from portal.models import Environment, Service

OTHER = "other"
# What was not heard of for so long makes room.
REMEMBERED = timedelta(days=7)
MOST_RELEASES = MOST_ARMS = 30
# A process looks this often at the most which names the others have let in.
ASKED_EVERY = 30.0  # seconds

NAMES = """
SELECT s.labels->>'page', s.labels->>'release', s.labels->>'flag', s.labels->>'variant',
    s.labels->>'browser', s.labels->>'device',
    bool_or(greatest(s.last_time, s.created_at) > clock_timestamp() - %(remembered)s::interval)
FROM monitoring_series s JOIN monitoring_metric m ON m.id = s.metric_id
WHERE m.name = ANY(%(metrics)s) AND s.service_id = %(service)s AND s.environment_id = %(environment)s
    AND greatest(s.last_time, s.created_at) > clock_timestamp() - %(counted)s::interval
GROUP BY 1, 2, 3, 4, 5, 6"""
# Those that share the metrics of browsers, this one apart.
OTHER_PLACES = """
SELECT count(DISTINCT (s.service_id, s.environment_id))
FROM monitoring_series s JOIN monitoring_metric m ON m.id = s.metric_id
WHERE m.name = ANY(%(metrics)s) AND (s.service_id, s.environment_id) <> (%(service)s, %(environment)s)
    AND greatest(s.last_time, s.created_at) > clock_timestamp() - %(counted)s::interval"""
# Applications name releases, too: keys that are no strangers', but a build of each commit is a release.
MOST_ERROR_RELEASES = 200
ERROR_RELEASES = """
SELECT DISTINCT s.service_id, s.environment_id, s.labels->>'release'
FROM monitoring_series s JOIN monitoring_metric m ON m.id = s.metric_id
WHERE m.name = %(metric)s AND s.labels ? 'release' AND (s.service_id, s.environment_id) IN (
        SELECT service, environment FROM unnest(%(services)s::bigint[], %(environments)s::bigint[])
            AS p(service, environment))
    AND greatest(s.last_time, s.created_at) > clock_timestamp() - %(remembered)s::interval"""

Label = str | None
Combination = tuple[Label, Label, Label, Label, Label, Label]
LABELS = ("page", "release", "flag", "variant", "browser", "device")


@dataclass(slots=True)
class Known:
    """What has become a label of one service in one environment."""

    pages: set[Label] = field(default_factory=set)
    releases: set[Label] = field(default_factory=set)
    arms: set[tuple[Label, Label]] = field(default_factory=set)
    combinations: set[Combination] = field(default_factory=set)
    counted: set[Combination] = field(default_factory=set)  # those, too, that count against the cap of series still
    # What this process let in, and when: an error's names are in no series, and would be forgotten with each reading.
    let_in: dict[Combination, float] = field(default_factory=dict)
    share: int = 0  # of that cap
    asked: float = float("-inf")

    def read(self, service: Service, environment: Environment) -> None:
        """What the store has."""
        with connection.cursor() as cursor:
            asked: dict[str, Any] = {
                "metrics": list(vitals.METRICS),
                "service": service.pk,
                "environment": environment.pk,
                "remembered": REMEMBERED,
                "counted": max(REMEMBERED, timedelta(days=settings.PORTAL_MINUTE_RETENTION_DAYS)),
            }
            cursor.execute(NAMES, asked)
            found = [(row[:6], row[6]) for row in cursor.fetchall()]
            cursor.execute(OTHER_PLACES, asked)
            (others,) = cursor.fetchone()
        now = time.monotonic()
        self.let_in = {row: at for row, at in self.let_in.items() if now - at < REMEMBERED.total_seconds()}
        rows: list[Combination] = [*(row for row, is_recent in found if is_recent), *self.let_in]
        self.counted = {*(row for row, _ in found), *self.let_in}
        # One share is nobody's: the next service's.
        self.share = settings.PORTAL_MAX_SERIES // (others + 2)
        self.pages = {page for page, *_ in rows}
        self.releases = {row[1] for row in rows}
        self.arms = {(row[2], row[3]) for row in rows}
        self.combinations = set(rows)
        self.asked = now


_known: dict[tuple[int, int], Known] = {}
_lock = threading.Lock()
Place = tuple[int, int]  # service, environment
_releases: dict[Place, tuple[float, set[str]]] = {}  # when the store was asked, and what is told apart


def forget_all() -> None:
    """Read the store anew."""
    with _lock:
        _known.clear()
        _releases.clear()


def settle(labels: Mapping[str, str], service: Service, environment: Environment) -> dict[str, str]:
    """These labels, with `other` for names beyond what is told apart.

    Each web process counts for itself what it lets in, and looks at what the others have each half minute: so the
    bounds may be passed by a little, never by more than one time for each process.
    """
    wanted: Combination = (
        labels.get("page"), labels.get("release"), labels.get("flag"), labels.get("variant"),
        labels.get("browser"), labels.get("device"),
    )  # fmt: skip
    with _lock:
        known = _known.setdefault((service.pk, environment.pk), Known())
        if wanted not in known.combinations and time.monotonic() - known.asked > ASKED_EVERY:
            known.read(service, environment)
        settled = wanted if wanted in known.combinations else _let_in(wanted, known)
    named = {name: value for name, value in zip(LABELS, settled, strict=True) if value is not None}
    return {**{name: value for name, value in labels.items() if name not in LABELS}, **named}


def error_releases(wanted: Mapping[Place, Collection[str]], *, metric: str) -> dict[Place, set[str]]:
    """Of the releases that reports of each place name, those that are told apart in this metric."""
    with _lock:
        now = time.monotonic()
        old = (now - ASKED_EVERY, set[str]())
        behind = [
            place
            for place, names in wanted.items()
            if (known := _releases.get(place, old))[0] <= old[0] and not known[1].issuperset(names)
        ]
        if behind:
            _read_releases(behind, metric, now)
        for place, names in wanted.items():
            told_apart = _releases[place][1]
            for name in sorted(names):
                if len(told_apart) < MOST_ERROR_RELEASES:
                    told_apart.add(name)
        return {place: _releases[place][1] & set(names) for place, names in wanted.items()}


def _read_releases(places: Collection[Place], metric: str, now: float) -> None:
    for place in places:
        _releases[place] = (now, set())
    with connection.cursor() as cursor:
        asked: dict[str, Any] = {
            "metric": metric,
            "services": [service for service, _ in places],
            "environments": [environment for _, environment in places],
            "remembered": REMEMBERED,
        }
        cursor.execute(ERROR_RELEASES, asked)
        for service, environment, name in cursor.fetchall():
            if name != OTHER:
                _releases[service, environment][1].add(name)


def _let_in(wanted: Combination, known: Known) -> Combination:
    page, release, flag, variant, browser, device = wanted
    page = _one(page, known.pages, settings.PORTAL_BROWSER_PAGES)
    release = _one(release, known.releases, MOST_RELEASES)
    if (flag, variant) not in known.arms and len(known.arms - {(None, None), (OTHER, OTHER)}) >= MOST_ARMS:
        flag = variant = OTHER if flag is not None else None
    made = (page, release, flag, variant, browser, device)
    most = min(settings.PORTAL_BROWSER_SERIES, known.share // 2)
    if made not in known.combinations and len(known.combinations) >= most:
        # Releases and arms stay what they are: they are compared, and there are few of them.
        made = (OTHER, release, flag, variant, OTHER, OTHER)
    if made not in known.counted and len(known.counted) >= known.share:
        # Unless the metric itself would be full: then the samples of all services would be refused.
        release, flag, variant = (name and OTHER for name in (release, flag, variant))
        made = (OTHER, release, flag, variant, OTHER, OTHER)
    known.pages.add(made[0])
    known.releases.add(release)
    known.arms.add((flag, variant))
    known.combinations.add(made)
    known.counted.add(made)
    known.let_in[made] = time.monotonic()
    return made


def _one(name: Label, known: set[Label], most: int) -> Label:
    if name is None or name in known or len(known - {None, OTHER}) < most:
        return name
    return OTHER
