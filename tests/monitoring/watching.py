"""A service that is watched: thresholds on its metrics, samples as its clients send them, and the judge's looks."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.db import connection
from django.test import TestCase

from monitoring import responses
from monitoring.actions import judging, metrics, thresholds
from monitoring.models import Alert, AlertState, Incident, ResponseRun, Threshold
from monitoring.responses import Outcome
from portal import jobs
from portal.audit import Automaton
from portal.errors import Refused
from portal.models import Environment, Service

BY = Automaton("test")
LABELS = {"service": "checkout", "environment": "staging"}


def place() -> None:
    """The service and the environment that LABELS name."""
    Service.objects.get_or_create(key=LABELS["service"])
    Environment.objects.get_or_create(key=LABELS["environment"])


def threshold(name: str = "latency", *, owner: str = "", hold: int = 0, **spec: Any) -> Threshold:
    """On the mean of `latency_ms` of checkout in staging, error above 300."""
    place()
    whole = {
        "name": name,
        "metric": "latency_ms",
        "aggregation": "mean",
        "operator": ">",
        "error": 300,
        "window": 60,
        "matchers": LABELS,
        "for": hold,
        **spec,
    }
    return thresholds.create(whole, by=BY, owner=owner)


class Clock:
    """Looks of the judge, a number of seconds after this was made; samples arrive just before a look."""

    def __init__(self) -> None:
        self.began: datetime = jobs.database_now()

    def at(self, second: float) -> datetime:
        return self.began + timedelta(seconds=second)

    def send(
        self, second: float, value: float, *, metric: str = "latency_ms", labels: dict[str, str] | None = None
    ) -> None:
        place()
        sample = {"metric": metric, "value": value, "time": self.at(second), "labels": labels or LABELS}
        with TestCase.captureOnCommitCallbacks(execute=True):
            recorded = metrics.record([sample], by=BY, now=self.at(second))
        assert recorded.accepted == 1, recorded

    def look(self, second: float, *values: float) -> None:
        """Every threshold is judged; `values` are what came in since the last look."""
        for place_, value in enumerate(values):
            self.send(second - 0.001 * (place_ + 1), value)
        Threshold.objects.update(due_at=self.at(second))
        # What is to happen after the commit does happen.
        with TestCase.captureOnCommitCallbacks(execute=True):
            judging.run(now=self.at(second))


def state(threshold: Threshold) -> AlertState:
    return AlertState.objects.get(threshold=threshold)


def the_alert() -> Alert:
    return Alert.objects.get()


def the_incident() -> Incident:
    return Incident.objects.get()


class Deeds:
    """A response that does as it is told, and remembers whom it was for."""

    def __init__(self, act: Callable[[ResponseRun], Outcome] | None) -> None:
        self.act = act
        self.targets: list[str] = []
        self.refuse = ""
        self.fail = ""

    def __call__(self, run: ResponseRun) -> Outcome:
        self.targets.append(run.target)
        if self.refuse:
            raise Refused(self.refuse)
        if self.fail:
            raise RuntimeError(self.fail)
        if self.act:
            return self.act(run)
        return Outcome(f"took {run.target} back")


def deeds(name: str = "take_back", act: Callable[[ResponseRun], Outcome] | None = None) -> Deeds:
    """The response of that name, registered once a process and made new for each test."""
    made = Deeds(act)
    if name not in _HANDLERS:
        responses.register(name)(lambda run: _HANDLERS[name](run))
    _HANDLERS[name] = made
    return made


_HANDLERS: dict[str, Deeds] = {}


def database_url() -> str:
    """The address of the test database, for processes of our own."""
    fields = connection.settings_dict
    return f"postgres://{fields['USER']}:{fields['PASSWORD']}@{fields['HOST']}:{fields['PORT']}/{fields['NAME']}"
