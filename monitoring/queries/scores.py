"""The health of each service in each environment, from what the judges have found."""

from collections import defaultdict
from dataclasses import dataclass, field

from django.db.models import Prefetch, QuerySet

from monitoring.judging import Level
from monitoring.models import Alert, AlertState, Slo, Threshold
from monitoring.scores import Budget, Firing, Score, score
from portal.verdicts import Outcome

# The judge's word on a threshold that it had data for.
SAID = (Outcome.PASSED, Outcome.FAILED)


@dataclass(frozen=True, slots=True)
class Health:
    """environment: empty where thresholds name a service alone."""

    service: str
    environment: str
    score: Score


@dataclass(slots=True)
class _Known:
    firing: list[Firing] = field(default_factory=list)
    budgets: list[Budget] = field(default_factory=list)
    seen: int = 0
    unseen: list[str] = field(default_factory=list)


def healths(thresholds: "QuerySet[Threshold]", alerts: "QuerySet[Alert]", slos: "QuerySet[Slo]") -> list[Health]:
    """By four queries, the worst first and the unknown last. Of the rows given, those of a service count.

    A combination is its members once more, and an alert that was marked false stands against nobody.
    """
    found: dict[tuple[str, str], _Known] = defaultdict(_Known)
    states = Prefetch("states", AlertState.objects.only("threshold_id", "outcome"))
    watched = thresholds.filter(active=True, source="", members=[], slo=None, service__isnull=False)
    for one in watched.select_related("service", "environment").prefetch_related(states):
        place = found[_place(one)]
        if any(state.outcome in SAID for state in one.states.all()):
            place.seen += 1
        else:
            place.unseen.append(one.name)
    firing = alerts.firing().filter(false_at=None, threshold__members=[], service__isnull=False)  # type: ignore[attr-defined]
    for alert in firing.select_related("service", "environment", "threshold"):
        found[_place(alert)].firing.append(Firing(alert.threshold.name, Level(alert.level), alert.reason))
    for slo in slos.filter(active=True, service__isnull=False).select_related("service", "environment"):
        found[_place(slo)].budgets.append(Budget(slo.name, slo.remaining))
    scored = [
        Health(*place, score(one.firing, one.budgets, seen=one.seen, unseen=one.unseen)) for place, one in found.items()
    ]
    return sorted(scored, key=lambda one: (one.score.value is None, one.score.value, one.service, one.environment))


def _place(one: Threshold | Alert | Slo) -> tuple[str, str]:
    assert one.service is not None
    return one.service.key, one.environment.key if one.environment else ""
