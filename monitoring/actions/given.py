"""Alerts whose state is given to us, not judged of samples: brought there by the way that our own judge's alerts go."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from monitoring.actions import alerts
from monitoring.actions.alerts import Turn
from monitoring.judging import Event, Level, Phase, Reading, Sight, State, Step
from monitoring.models import Alert, AlertState, IncidentDefinition, Threshold
from portal.errors import Unavailable
from portal.models import Environment, Service
from portal.verdicts import Outcome, Verdict

TRIES = 5


@dataclass(frozen=True, slots=True)
class Given:
    """Where an alert is said to be. `level` None: it is over."""

    threshold: Threshold  # what stands for it: silences, definitions and shares of false alerts know it
    level: Level | None
    reason: str
    since: datetime
    group: str = ""
    service: Service | None = None
    environment: Environment | None = None
    labels: Mapping[str, str] = field(default_factory=dict)


def bring(given: Given, definitions: Sequence[IncidentDefinition], *, now: datetime) -> bool:
    """False when it is there already. Raises Unavailable when others change it all the time."""
    for _ in range(TRIES):
        state, _created = AlertState.objects.get_or_create(threshold=given.threshold, group=given.group)
        fires = state.phase == AlertState.Phase.FIRING
        if fires == (given.level is not None):
            alert = open_alert(given.threshold, given.group) if fires else None
            if alert is not None and alert.reason != given.reason:
                alerts.remark(alert, "reported", because=given.reason)
            return False
        if alerts.take(_turn(given, state, now), definitions=definitions):
            return True
    raise Unavailable("somebody else changes this alert all the time", retry_after=2)


def open_alert(threshold: Threshold, group: str = "") -> Alert | None:
    return Alert.objects.open().filter(threshold=threshold, group=group).first()


def _turn(given: Given, state: AlertState, now: datetime) -> Turn:
    if given.level is None:
        step = Step(State(), Event.RESOLVED)
        reading = Reading(Sight.CLEAR, Verdict(Outcome.PASSED, given.reason))
    else:
        # The sender's clock may be ahead of ours.
        step = Step(State(Phase.FIRING, given.level, {given.level: min(given.since, now)}, None, now), Event.FIRED)
        reading = Reading(Sight.BREACH, Verdict(Outcome.FAILED, given.reason), given.level)
    return Turn(
        given.threshold, state, step, reading, now,
        service=given.service, environment=given.environment, reported=dict(given.labels),
    )  # fmt: skip
