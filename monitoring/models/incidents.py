"""Incidents: how alerts become one, its timeline, and what is done about it by itself."""

from datetime import datetime
from typing import ClassVar, Self

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.functions import RandomUUID
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from monitoring.models.escalation import EscalationPolicy
from monitoring.models.notifications import Channel
from monitoring.models.thresholds import Threshold
from portal.models import Environment, Service, User, key_validator

# Carried out by a machine outside, which is told the desired state.
HOOKED = ("clear_caches", "scale_up", "shed_load", "circuit_breaker", "lock_down", "isolate")
BUILT_IN = "threshold"  # the definition that catches what no other does


class Severity(models.TextChoices):
    SEV1 = "SEV1", "SEV1: everybody is hit"
    SEV2 = "SEV2", "SEV2: many are hit"
    SEV3 = "SEV3", "SEV3: some are hit"
    SEV4 = "SEV4", "SEV4: hardly anybody notices"


class IncidentDefinition(models.Model):
    """Which alerts become an incident, how bad it is, and what happens by itself then."""

    class MinLevel(models.TextChoices):
        ERROR = "error"
        CRITICAL = "critical"

    LAST = 32_767  # the built-in definition's rank

    key = models.CharField(max_length=128, unique=True, validators=[key_validator])
    name = models.CharField(max_length=200)
    active = models.BooleanField(default=True)
    rank = models.PositiveSmallIntegerField(default=100, help_text="the first that fits catches the alert")
    min_level = models.CharField(max_length=10, choices=MinLevel, default=MinLevel.ERROR)
    matchers = models.JSONField(default=dict, blank=True, help_text="labels that the alert must carry")
    thresholds = models.ManyToManyField(Threshold, blank=True, related_name="definitions", help_text="empty: any")
    group_by = ArrayField(
        models.CharField(max_length=128), default=list, blank=True, help_text="empty: service, environment and target"
    )
    severity = models.CharField(max_length=4, choices=Severity, blank=True, help_text="empty: by the alert's level")
    responses = ArrayField(
        models.CharField(max_length=320),
        default=list,
        blank=True,
        help_text="done once for each incident; pause@critical: only from that level on; set_flag:KEY=VARIANT",
    )
    cool_down = models.PositiveIntegerField(
        default=0, help_text="seconds in which the same response is not done again to the same target"
    )
    channels = models.ManyToManyField(Channel, blank=True, related_name="definitions")
    escalation = models.ForeignKey(
        EscalationPolicy,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="definitions",
        help_text="whom it calls until one answers; empty: the default policy",
    )
    runbook = models.TextField(blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ("rank", "id")

    def __str__(self) -> str:
        return self.name


class IncidentQuerySet(models.QuerySet["Incident"]):
    """The questions about incidents."""

    def open(self) -> Self:
        return self.filter(status__in=OPEN)


class Incident(models.Model):
    """Something is wrong, and somebody deals with it. Only actions change it."""

    class Status(models.TextChoices):
        TRIGGERED = "triggered"
        ACKNOWLEDGED = "acknowledged"
        MITIGATED = "mitigated"
        RESOLVED = "resolved"
        CLOSED = "closed"

    MOVES: ClassVar[dict[str, set[str]]] = {
        Status.TRIGGERED: {Status.ACKNOWLEDGED, Status.MITIGATED, Status.RESOLVED},
        # Back: whoever took it was asked whether they are still on it, and did not answer.
        Status.ACKNOWLEDGED: {Status.TRIGGERED, Status.MITIGATED, Status.RESOLVED},
        Status.MITIGATED: {Status.RESOLVED},
        Status.RESOLVED: {Status.CLOSED},
        Status.CLOSED: set(),
    }

    definition = models.ForeignKey(
        IncidentDefinition, models.PROTECT, null=True, blank=True, related_name="incidents", help_text="empty: by hand"
    )
    uid = models.UUIDField(unique=True, editable=False, db_default=RandomUUID(), help_text="its name outside")
    group_key = models.CharField(max_length=500, editable=False)
    title = models.CharField(max_length=300)
    description = models.TextField(blank=True)
    status = models.CharField(max_length=15, choices=Status, default=Status.TRIGGERED, editable=False)
    severity = models.CharField(max_length=4, choices=Severity)
    service = models.ForeignKey(Service, models.PROTECT, null=True, blank=True, related_name="incidents")
    environment = models.ForeignKey(Environment, models.PROTECT, null=True, blank=True, related_name="incidents")
    target = models.CharField(max_length=200, blank=True, editable=False)
    commander = models.ForeignKey(User, models.SET_NULL, null=True, blank=True, related_name="+")
    communications = models.ForeignKey(User, models.SET_NULL, null=True, blank=True, related_name="+")
    scribe = models.ForeignKey(User, models.SET_NULL, null=True, blank=True, related_name="+")
    escalations = models.PositiveSmallIntegerField(default=0, editable=False)
    opened_at = models.DateTimeField(db_default=Now(), editable=False)
    acknowledged_at = models.DateTimeField(null=True, editable=False)
    acknowledged_by = models.CharField(max_length=200, blank=True, editable=False)
    answered_at = models.DateTimeField(
        null=True, editable=False, help_text="the first acknowledgement, whatever became of it"
    )
    mitigated_at = models.DateTimeField(null=True, editable=False)
    resolved_at = models.DateTimeField(null=True, editable=False)
    closed_at = models.DateTimeField(null=True, editable=False)
    entries = models.PositiveIntegerField(default=0, editable=False, help_text="the timeline's last number")
    policy = models.JSONField(default=dict, editable=False, help_text="the escalation policy as it was at opening")
    step = models.PositiveSmallIntegerField(default=0, editable=False, help_text="of the policy: the next one's place")
    lap = models.PositiveSmallIntegerField(default=0, editable=False, help_text="how often the policy began anew")
    pages = models.PositiveIntegerField(default=0, editable=False, help_text="steps taken")
    next_page_at = models.DateTimeField(null=True, editable=False, help_text="when the next step is due")
    remind_at = models.DateTimeField(
        null=True, editable=False, help_text="when whoever took it is asked, or has not answered"
    )
    reminded_at = models.DateTimeField(null=True, editable=False)

    objects = IncidentQuerySet.as_manager()

    class Meta:
        ordering = ("-id",)
        indexes = [
            models.Index(fields=("status", "-id"), name="incidents_by_status"),
            models.Index(fields=("next_page_at",), condition=Q(next_page_at__isnull=False), name="incidents_to_page"),
            models.Index(fields=("remind_at",), condition=Q(remind_at__isnull=False), name="incidents_to_remind"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=("definition", "group_key"),
                condition=Q(status__in=("triggered", "acknowledged", "mitigated")),
                name="one_open_incident_a_group",
            ),
        ]

    def __str__(self) -> str:
        return f"incident {self.pk}: {self.title}"

    def not_before(self, now: datetime) -> datetime:
        """`now`, or the last thing that happened to it where the database's clock was set back meanwhile."""
        known = (self.opened_at, self.acknowledged_at, self.mitigated_at, self.resolved_at)
        return max([now, *(at for at in known if at is not None)])


OPEN = (Incident.Status.TRIGGERED, Incident.Status.ACKNOWLEDGED, Incident.Status.MITIGATED)


class TimelineEntry(models.Model):
    """One thing that happened in an incident. Append-only, by a trigger."""

    incident = models.ForeignKey(Incident, models.PROTECT, related_name="timeline")
    seq = models.PositiveIntegerField()
    at = models.DateTimeField(db_default=Now())
    kind = models.CharField(max_length=40)
    actor = models.CharField(max_length=200)
    text = models.TextField()
    data = models.JSONField(default=dict)

    class Meta:
        ordering = ("incident", "seq")
        verbose_name_plural = "timeline entries"
        constraints = [models.UniqueConstraint(fields=("incident", "seq"), name="one_entry_a_number")]

    def __str__(self) -> str:
        return f"{self.incident_id}.{self.seq} {self.kind}"


class ResponseRun(models.Model):
    """One response of one incident to one target: done once, whatever happens to the process that does it."""

    class Status(models.TextChoices):
        PROPOSED = "proposed"
        PENDING = "pending"
        ASKED = "asked"
        DONE = "done"
        REFUSED = "refused"
        FAILED = "failed"

    MOVES: ClassVar[dict[str, set[str]]] = {
        # Waits for a person's word.
        Status.PROPOSED: {Status.PENDING, Status.REFUSED},
        Status.PENDING: {Status.ASKED, Status.DONE, Status.REFUSED, Status.FAILED},
        # A machine outside has been asked, through the outbox.
        Status.ASKED: {Status.DONE, Status.FAILED},
        Status.FAILED: {Status.PENDING},
        Status.REFUSED: {Status.PENDING},
        Status.DONE: set(),
    }

    incident = models.ForeignKey(Incident, models.PROTECT, related_name="runs")
    name = models.CharField(max_length=300, help_text="with its argument, if it has one, after a colon")
    target = models.CharField(max_length=200)
    service = models.ForeignKey(Service, models.PROTECT, null=True, related_name="+")
    environment = models.ForeignKey(Environment, models.PROTECT, null=True, related_name="+")
    because = models.TextField(help_text="the reason that goes on record with what it does")
    status = models.CharField(max_length=10, choices=Status, default=Status.PENDING)
    attempts = models.PositiveSmallIntegerField(default=0)
    due_at = models.DateTimeField(db_default=Now())
    outcome = models.TextField(blank=True, default="")
    created_at = models.DateTimeField(db_default=Now())
    ended_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("incident", "id")
        indexes = [models.Index(fields=("due_at",), condition=Q(status="pending"), name="response_runs_due")]
        constraints = [
            models.UniqueConstraint(fields=("incident", "name", "target"), name="one_run_an_incident_and_target"),
        ]

    def __str__(self) -> str:
        return f"{self.name} of {self.target}"

    @property
    def word(self) -> str:
        """What is done, without its argument."""
        return self.name.partition(":")[0]

    @property
    def argument(self) -> str:
        return self.name.partition(":")[2]


class IncidentAttachment(models.Model):
    """What was captured for an incident, as it was. Append-only, by a trigger."""

    incident = models.ForeignKey(Incident, models.PROTECT, related_name="attachments")
    run = models.OneToOneField(ResponseRun, models.PROTECT, null=True, related_name="attachment")
    name = models.CharField(max_length=100)
    content = models.JSONField()
    sha256 = models.CharField(max_length=64, help_text="of the content as canonical JSON")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ("incident", "id")

    def __str__(self) -> str:
        return f"{self.name} of incident {self.incident_id}"
