"""Which names of strangers become labels: so many of one service, and the rest together as `other`."""

import threading
import time
from collections.abc import Mapping
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
SELECT DISTINCT s.labels->>'page', s.labels->>'release', s.labels->>'flag', s.labels->>'variant',
    s.labels->>'browser', s.labels->>'device'
FROM monitoring_series s JOIN monitoring_metric m ON m.id = s.metric_id
WHERE m.name = ANY(%(metrics)s) AND s.service_id = %(service)s AND s.environment_id = %(environment)s
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
    asked: float = float("-inf")

    def read(self, service: Service, environment: Environment) -> None:
        """What the store has."""
        with connection.cursor() as cursor:
            asked: dict[str, Any] = {
                "metrics": list(vitals.METRICS),
                "service": service.pk,
                "environment": environment.pk,
                "remembered": REMEMBERED,
            }
            cursor.execute(NAMES, asked)
            rows: list[Combination] = cursor.fetchall()
        self.pages = {page for page, *_ in rows}
        self.releases = {row[1] for row in rows}
        self.arms = {(row[2], row[3]) for row in rows}
        self.combinations = set(rows)
        self.asked = time.monotonic()


_known: dict[tuple[int, int], Known] = {}
_lock = threading.Lock()


def forget_all() -> None:
    """Read the store anew."""
    with _lock:
        _known.clear()


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


def _let_in(wanted: Combination, known: Known) -> Combination:
    page, release, flag, variant, browser, device = wanted
    page = _one(page, known.pages, settings.PORTAL_BROWSER_PAGES)
    release = _one(release, known.releases, MOST_RELEASES)
    if (flag, variant) not in known.arms and len(known.arms - {(None, None), (OTHER, OTHER)}) >= MOST_ARMS:
        flag = variant = OTHER if flag is not None else None
    made = (page, release, flag, variant, browser, device)
    if made not in known.combinations and len(known.combinations) >= settings.PORTAL_BROWSER_SERIES:
        # Releases and arms stay what they are: they are compared, and there are few of them.
        made = (OTHER, release, flag, variant, OTHER, OTHER)
    known.pages.add(made[0])
    known.releases.add(release)
    known.arms.add((flag, variant))
    known.combinations.add(made)
    return made


def _one(name: Label, known: set[Label], most: int) -> Label:
    if name is None or name in known or len(known - {None, OTHER}) < most:
        return name
    return OTHER
