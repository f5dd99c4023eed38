"""The two incidents of the month, from the alert to the lesson, as the portal itself would have written them."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from monitoring.actions import alerts, responses
from monitoring.judging import Condition, Level, Measurement, judge
from monitoring.models import Alert, Incident, IncidentDefinition, ResponseRun, TimelineEntry
from portal.audit import Actor
from portal.management.demo.past_places import World
from portal.management.demo.past_runs import Past
from portal.management.demo.past_traffic import Lines
from portal.management.demo.story import Ending
from rollouts import progress

JUDGE = alerts.BY
RESPONDER = responses.BY


def define(world: World) -> IncidentDefinition:
    """What becomes of a guardrail that is crossed."""
    at = world.began + timedelta(hours=4)
    fields = {
        "name": "A release misbehaves",
        "rank": 10,
        "severity": "SEV2",
        "group_by": [],
        "runbook": "Look at the two arms beside each other. If the release was not taken back by itself, take it back. "
        "Tell support. What was wrong belongs into the timeline before it is closed.",
    }
    definition = IncidentDefinition.objects.create(key="release-misbehaves", created_at=at, **fields)
    world.chronicle.tell("incident_definition.created", definition, at=at, by=world.by("olga"), after=fields)
    return definition


def write(world: World, pasts: Sequence[Past], definition: IncidentDefinition, lines: Lines) -> None:
    for past in pasts:
        if past.run.ending == Ending.ROLLED_BACK:
            _Telling(world, past, definition, lines).write()


class _Telling:
    """One incident."""

    def __init__(self, world: World, past: Past, definition: IncidentDefinition, lines: Lines) -> None:
        self.world, self.past, self.lines = world, past, lines
        self.at = past.run.ended_at
        self.entries: list[TimelineEntry] = []
        threshold = past.thresholds[0]
        seen = self._seen()
        condition = Condition(
            name=threshold.name,
            operator=threshold.operator,
            bounds={Level.ERROR: threshold.error or 0.0},
            window=threshold.window,
            is_share=True,
        )
        self.reason = judge(condition, seen).verdict.reason
        self.blame = progress.blame(
            canary=seen.value,
            operator=threshold.operator,
            bound=threshold.error or 0.0,
            baseline_now=self._other_arm(),
            baseline_at_start=progress.Reading(0.0031, 9800),
        ).why
        self.threshold, self.value = threshold, seen.value
        self.incident = Incident(
            definition=definition,
            group_key=f"{past.run.service}:{past.run.environment}:{threshold.target}",
            title=f"{threshold.name}: error on {past.run.service} in {past.run.environment}",
            description=self.reason,
            status=Incident.Status.CLOSED,
            severity="SEV2",
            service=world.services[past.run.service],
            environment=world.environments[past.run.environment],
            target=threshold.target,
            commander=world.people["sam"],
            opened_at=self.at,
        )

    def write(self) -> None:
        world, run, at = self.world, self.past.run, self.at
        incident = self.incident
        sam, dana = world.people["sam"], world.people[run.captain]
        incident.acknowledged_at, incident.acknowledged_by = at + timedelta(minutes=2, seconds=9), str(sam)
        incident.answered_at, incident.mitigated_at = incident.acknowledged_at, at
        incident.resolved_at = at + timedelta(minutes=41)
        incident.closed_at = at + timedelta(hours=5, minutes=12)
        incident.save(force_insert=True)
        self.past.because = f"incident {incident.pk}: {self.reason} ({self.blame})"
        alert = self._alert()
        deed = self._response()
        rolled_back = f"deployment {self.past.deployment.pk} rolled back: {self.blame}"
        removed = f"threshold removed: {self.past.because}"

        self._tell("incident.opened", at, JUDGE, self.reason, after={"severity": "SEV2"})
        self._note("opened", at, JUDGE, self.reason, data={"alert": alert.pk, "level": "error"})
        self._note("response.queued", at, RESPONDER, f"roll_back of {incident.target}", data={"run": deed.pk})
        self._note("alert.resolved", at, RESPONDER, removed, data={"alert": alert.pk})
        self._note("response.done", at, RESPONDER, f"roll_back: {rolled_back}", data={"run": deed.pk})
        self._tell(
            "incident.mitigated", at, RESPONDER, rolled_back,
            before={"status": "triggered", "mitigated_at": None}, after={"status": "mitigated", "mitigated_at": at},
        )  # fmt: skip
        self._note("mitigated", at, RESPONDER, f"mitigated by roll_back: {rolled_back}")
        self._tell("incident.acknowledged", incident.acknowledged_at, sam, "")
        self._note("acknowledged", incident.acknowledged_at, sam, f"acknowledged by {sam}")
        self._remark(at + timedelta(minutes=6), sam, f"everybody is back on {run.baseline}; error rate is falling")
        self._remark(at + timedelta(minutes=19), dana, f"found it: {run.fault.cause}" if run.fault else "")
        calm = "errors have been normal for half an hour"
        self._tell(
            "incident.resolved", incident.resolved_at, sam, calm,
            before={"status": "mitigated", "resolved_at": None},
            after={"status": "resolved", "resolved_at": incident.resolved_at},
        )  # fmt: skip
        self._note("resolved", incident.resolved_at, sam, f"resolved by {sam}: {calm}")
        lesson = f"what we change: {run.fault.lesson}" if run.fault else ""
        self._remark(incident.closed_at - timedelta(minutes=4), dana, lesson)
        done = "the lesson is written down and in the plan of the next release"
        self._tell(
            "incident.closed", incident.closed_at, dana, done,
            before={"status": "resolved", "closed_at": None},
            after={"status": "closed", "closed_at": incident.closed_at},
        )  # fmt: skip
        self._note("closed", incident.closed_at, dana, f"closed by {dana}: {done}")
        TimelineEntry.objects.bulk_create(self.entries)
        Incident.objects.filter(pk=incident.pk).update(entries=len(self.entries))

    def _alert(self) -> Alert:
        removed = f"threshold removed: {self.past.because}"
        alert = Alert.objects.create(
            threshold=self.threshold,
            status=Alert.Status.RESOLVED,
            level="error",
            reason=self.reason,
            value=self.value,
            labels=self.threshold.matchers,
            service=self.incident.service,
            environment=self.incident.environment,
            incident=self.incident,
            started_at=self.at - timedelta(seconds=self.threshold.hold),
            fired_at=self.at,
            resolved_at=self.at,
            resolved_because=removed,
            created_at=self.at - timedelta(seconds=self.threshold.hold),
        )
        tell = self.world.chronicle.tell
        firing = {"level": "error", "reason": self.reason, "value": self.value}
        tell(
            "alert.firing", alert, at=self.at, by=JUDGE,
            before={"status": "pending"} | firing, after={"status": "firing"} | firing, because=self.reason,
        )  # fmt: skip
        tell(
            "alert.resolved", alert, at=self.at, by=RESPONDER, because=removed,
            before={"status": "firing", "resolved_at": None, "resolved_because": ""},
            after={"status": "resolved", "resolved_at": self.at, "resolved_because": removed},
        )  # fmt: skip
        return alert

    def _response(self) -> ResponseRun:
        outcome = f"deployment {self.past.deployment.pk} rolled back: {self.blame}"
        run = ResponseRun.objects.create(
            incident=self.incident,
            name="roll_back",
            target=self.incident.target,
            service=self.incident.service,
            environment=self.incident.environment,
            because=self.reason,
            status=ResponseRun.Status.DONE,
            due_at=self.at,
            outcome=outcome,
            created_at=self.at,
            ended_at=self.at,
        )
        self.world.chronicle.tell(
            "responserun.done", run, at=self.at, by=RESPONDER, because=outcome,
            before={"status": "pending", "outcome": "", "ended_at": None},
            after={"status": "done", "outcome": outcome, "ended_at": self.at},
        )  # fmt: skip
        return run

    def _seen(self) -> Measurement:
        """What the judge saw when it fired."""
        run, threshold = self.past.run, self.past.thresholds[0]
        line = self.lines.get((run.service, run.build))
        if line is not None and line.times[0] < run.started_at:
            requests, errors = line.growth(self.at - timedelta(seconds=threshold.window), self.at)
            return Measurement(errors / requests, requests)
        return Measurement(0.0612, 8127)

    def _other_arm(self) -> progress.Reading | None:
        run, threshold = self.past.run, self.past.thresholds[0]
        line = self.lines.get((run.service, run.baseline))
        if line is None:
            return None
        requests, errors = line.growth(self.at - timedelta(seconds=threshold.window), self.at)
        return progress.Reading(errors / requests if requests else None, requests)

    def _remark(self, at: datetime, by: Actor, text: str) -> None:
        self._tell("incident.noted", at, by, text)
        self._note("note", at, by, text)

    def _note(self, kind: str, at: datetime, by: Actor, text: str, *, data: dict[str, object] | None = None) -> None:
        number = len(self.entries) + 1
        self.entries.append(
            TimelineEntry(
                incident=self.incident, seq=number, at=at, kind=kind, actor=str(by), text=text, data=data or {}
            )
        )

    def _tell(
        self,
        verb: str,
        at: datetime,
        by: Actor,
        because: str,
        *,
        before: dict[str, object] | None = None,
        after: dict[str, object] | None = None,
    ) -> None:
        self.world.chronicle.tell(verb, self.incident, at=at, by=by, before=before, after=after, because=because)
