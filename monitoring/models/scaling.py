"""How many instances services are to have: policies, and what was decided by them."""

from typing import ClassVar, Self

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from monitoring.models.notifications import Channel
from portal.models import Environment, Service, key_validator


class ScalingPolicyQuerySet(models.QuerySet["ScalingPolicy"]):
    """The questions about policies."""

    def active(self) -> Self:
        return self.filter(active=True)


class ScalingPolicy(models.Model):
    """How one service in one environment is scaled. Removed ones stay, inactive, for their decisions."""

    class Mode(models.TextChoices):
        ADVISE = "advise", "advise: a person decides"
        SEND = "send", "send: the desired state goes out by itself"

    key = models.CharField(max_length=128, validators=[key_validator])
    name = models.CharField(max_length=200)
    service = models.ForeignKey(Service, models.PROTECT, related_name="scaling_policies")
    environment = models.ForeignKey(Environment, models.PROTECT, related_name="scaling_policies")
    metric = models.CharField(max_length=200, help_text="load of each instance: CPU, requests in flight…")
    aggregation = models.CharField(max_length=20, default="mean", help_text="mean, max, last, rate, p95…")
    matchers = models.JSONField(default=dict, blank=True, help_text="more labels than service and environment")
    window = models.PositiveIntegerField(default=300, help_text="seconds that are looked back")
    target = models.FloatField(help_text="of the metric, for each instance")
    tolerance = models.FloatField(default=0.1, help_text="as a share of the target: within it nothing is done")
    minimum = models.PositiveIntegerField(default=2, help_text="instances")
    maximum = models.PositiveIntegerField(default=10, help_text="instances")
    up_step = models.PositiveIntegerField(default=4, help_text="instances more at once")
    down_step = models.PositiveIntegerField(default=1, help_text="instances fewer at once")
    up_cool_down = models.PositiveIntegerField(default=180, help_text="seconds after a change until one more is added")
    down_cool_down = models.PositiveIntegerField(
        default=900, help_text="seconds after a change until one is taken away"
    )
    lead = models.PositiveIntegerField(default=900, help_text="seconds that are looked ahead; 0: not at all")
    instances_metric = models.CharField(max_length=200, blank=True, help_text="says how many there are; or")
    instances = models.PositiveIntegerField(
        null=True, blank=True, help_text="how many there are, kept with each change"
    )
    mode = models.CharField(max_length=10, choices=Mode, default=Mode.ADVISE)
    channel = models.ForeignKey(
        Channel, models.PROTECT, null=True, blank=True, related_name="+", help_text="the webhook that is told"
    )
    interval = models.PositiveSmallIntegerField(default=60, help_text="seconds between two looks; at the most 90")
    active = models.BooleanField(default=True, editable=False)
    version = models.PositiveIntegerField(default=1, editable=False)
    created_by = models.CharField(max_length=200, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    due_at = models.DateTimeField(db_default=Now(), editable=False)
    # What the last look found; the sweep alone writes it.
    way = models.CharField(max_length=10, blank=True, default="", editable=False)
    wanted = models.PositiveIntegerField(null=True, editable=False)
    reason = models.TextField(blank=True, default="", editable=False)
    value = models.FloatField(null=True, editable=False)
    looked_at = models.DateTimeField(null=True, editable=False)
    # The forecast is made anew every few minutes, not at every look.
    foreseen = models.JSONField(default=dict, editable=False)

    objects = ScalingPolicyQuerySet.as_manager()

    class Meta:
        ordering = ("name", "id")
        verbose_name_plural = "scaling policies"
        indexes = [models.Index(fields=("due_at",), condition=Q(active=True), name="scaling_policies_due")]
        constraints = [
            models.UniqueConstraint(fields=("key",), condition=Q(active=True), name="one_active_policy_a_key"),
            models.UniqueConstraint(
                fields=("service", "environment"), condition=Q(active=True), name="one_scaling_policy_a_place"
            ),
            models.CheckConstraint(
                condition=Q(minimum__gte=1, maximum__gte=F("minimum")), name="scaling_minimum_is_below_maximum"
            ),
            models.CheckConstraint(condition=Q(target__gt=0), name="scaling_target_is_something"),
        ]

    def __str__(self) -> str:
        return self.name


class ScalingDecision(models.Model):
    """What was decided, and by what evidence. A trigger refuses any change but of what became of it."""

    class Status(models.TextChoices):
        NOTED = "noted"
        ADVISED = "advised"
        ACCEPTED = "accepted"
        DECLINED = "declined"
        SUPERSEDED = "superseded"
        SENDING = "sending"
        SENT = "sent"
        FAILED = "failed"

    class Way(models.TextChoices):
        UP = "scale_up"
        DOWN = "scale_down"
        NONE = "none"

    class Urgency(models.TextChoices):
        HIGH = "high"
        NORMAL = "normal"
        LOW = "low"

    MOVES: ClassVar[dict[str, set[str]]] = {
        # That nothing is done, and why.
        Status.NOTED: set(),
        Status.ADVISED: {Status.ACCEPTED, Status.DECLINED, Status.SUPERSEDED, Status.SENDING},
        Status.ACCEPTED: set(),
        Status.DECLINED: set(),
        Status.SUPERSEDED: set(),
        Status.SENDING: {Status.SENT, Status.FAILED, Status.SUPERSEDED},
        Status.SENT: set(),
        Status.FAILED: set(),
    }
    # After these the policy cools down.
    CHANGED = (Status.ACCEPTED, Status.SENDING, Status.SENT)

    policy = models.ForeignKey(ScalingPolicy, models.PROTECT, related_name="decisions")
    service = models.ForeignKey(Service, models.PROTECT, related_name="+")
    environment = models.ForeignKey(Environment, models.PROTECT, related_name="+")
    way = models.CharField(max_length=10, choices=Way)
    before = models.PositiveIntegerField(null=True, help_text="instances; empty: not known")
    wanted = models.PositiveIntegerField(null=True, help_text="instances from then on")
    urgency = models.CharField(max_length=10, choices=Urgency)
    code = models.CharField(max_length=20)
    reason = models.TextField()
    evidence = models.JSONField(help_text="what was known when it was decided")
    made_at = models.DateTimeField(db_default=Now())
    status = models.CharField(max_length=10, choices=Status)
    decided_by = models.CharField(max_length=200, blank=True, default="")
    decided_at = models.DateTimeField(null=True)
    said = models.TextField(blank=True, default="", help_text="why, in the words of who decided")
    outcome = models.TextField(blank=True, default="")

    class Meta:
        ordering = ("-id",)
        indexes = [models.Index(fields=("policy", "-id"), name="decisions_of_a_policy")]
        constraints = [
            models.UniqueConstraint(
                fields=("policy",), condition=Q(status="advised"), name="one_open_decision_a_policy"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.way.replace('_', ' ')} to {self.wanted}"
