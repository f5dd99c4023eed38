"""Bounds on metrics: what is judged, and where each judgement stands."""

from datetime import datetime
from typing import Final, Self

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from monitoring.judging import Change, Level, NoData, Phase, Reading, State
from monitoring.models.slos import Slo
from portal.models import Environment, Service


class ThresholdQuerySet(models.QuerySet["Threshold"]):
    """The questions about thresholds."""

    def active(self) -> Self:
        """Those that our judge looks at."""
        return self.filter(active=True, source="")

    def with_false_alerts(self) -> Self:
        """How many alerts each has had (`alerts_had`), and how many of them were false (`alerts_false`)."""
        had = Q(alerts__fired_at__isnull=False)
        return self.annotate(
            alerts_had=models.Count("alerts", filter=had),
            alerts_false=models.Count("alerts", filter=had & Q(alerts__false_at__isnull=False)),
        )

    def owned_by(self, owner: str) -> Self:
        return self.filter(owner=owner)


class Threshold(models.Model):
    """A bound on a metric. Removed ones stay, inactive, for the alerts that they had."""

    class Operator(models.TextChoices):
        ABOVE = ">"
        AT_LEAST = ">="
        BELOW = "<"
        AT_MOST = "<="

    class WithoutData(models.TextChoices):
        KEEP = NoData.KEEP.value, "keep: what fires goes on firing"
        OK = NoData.OK.value, "ok: no data is fine"
        ALERT = NoData.ALERT.value, "alert: no data is as bad as the worst bound"

    class Baseline(models.TextChoices):
        NONE = "", "the bounds themselves"
        ARM = "arm", "another arm of the flag or release"
        PREVIOUS_RELEASE = "previous_release", "the release before"
        OFFSET = "offset", "the same metric some time ago"
        USUAL = "usual", "what is usual for this hour"

    class Season(models.TextChoices):
        HOUR_OF_WEEK = "hour_of_week", "the same hour of the same day of the week"
        HOUR_OF_DAY = "hour_of_day", "the same hour of every day"

    name = models.CharField(max_length=200)
    metric = models.CharField(max_length=200, blank=True, help_text="none of a combination")
    denominator = models.CharField(max_length=200, blank=True, help_text="a counter: the value is the quotient")
    matchers = models.JSONField(default=dict, blank=True, help_text="labels that a series must carry")
    aggregation = models.CharField(max_length=20)
    operator = models.CharField(max_length=2, choices=Operator)
    warning = models.FloatField(null=True, blank=True)
    error = models.FloatField(null=True, blank=True)
    critical = models.FloatField(null=True, blank=True)
    clear = models.FloatField(null=True, blank=True, help_text="an alert resolves only past this level")
    window = models.PositiveIntegerField(default=300, help_text="seconds")
    interval = models.PositiveIntegerField(default=10, help_text="seconds between two looks")
    hold = models.PositiveIntegerField("for", default=0, help_text="seconds that the condition must hold")
    keep_firing_for = models.PositiveIntegerField(default=0, help_text="seconds")
    min_count = models.PositiveIntegerField(default=1)
    baseline_kind = models.CharField(max_length=20, choices=Baseline, blank=True, default="")
    baseline_change = models.CharField(
        max_length=20, choices=[(one.value, one.value) for one in Change], default=Change.RATIO.value
    )
    baseline_labels = models.JSONField(default=dict, blank=True, help_text="the labels by which the baseline differs")
    baseline_seconds = models.PositiveIntegerField(null=True, blank=True, help_text="how long ago, or how far back")
    baseline_season = models.CharField(max_length=20, choices=Season, blank=True, default="")
    no_data = models.CharField(max_length=10, choices=WithoutData, default=NoData.KEEP.value)
    on_error = models.CharField(
        max_length=10, choices=WithoutData, blank=True, default="", help_text="empty: as without data, but never ok"
    )
    flap_transitions = models.PositiveSmallIntegerField(
        default=6, help_text="fired or resolved so often within the flap window is flapping; 0: never"
    )
    flap_window = models.PositiveIntegerField(default=1800, help_text="seconds")
    response = models.CharField(max_length=300, blank=True)
    target = models.CharField(max_length=200, blank=True, help_text='"deployment:42"; empty: the service of the labels')
    # Of a combination: its value is how many of these fire, its bound how many it takes; it has no metric.
    members = ArrayField(models.BigIntegerField(), default=list, blank=True, editable=False)
    # Of an objective: its value is the burn rate, over the window and over the short one, whichever is less.
    slo = models.ForeignKey(Slo, models.PROTECT, null=True, related_name="thresholds", editable=False)
    short_window = models.PositiveIntegerField(null=True, editable=False)
    runbook = models.TextField(blank=True, help_text="what to do when it fires")
    library = models.CharField(max_length=128, blank=True, editable=False, help_text="the definition it was made of")
    owner = models.CharField(max_length=200, blank=True, editable=False, help_text="who made it and takes it away")
    source = models.CharField(
        max_length=40, blank=True, default="", editable=False, help_text="who judges it in our place: alertmanager…"
    )
    service = models.ForeignKey(
        Service, models.PROTECT, null=True, blank=True, related_name="thresholds", editable=False
    )
    environment = models.ForeignKey(
        Environment, models.PROTECT, null=True, blank=True, related_name="thresholds", editable=False
    )
    active = models.BooleanField(default=True, editable=False)
    version = models.PositiveIntegerField(default=1, editable=False)
    due_at = models.DateTimeField(db_default=Now(), editable=False)
    created_by = models.CharField(max_length=200, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    objects = ThresholdQuerySet.as_manager()

    class Meta:
        ordering = ("name", "id")
        indexes = [
            models.Index(fields=("due_at",), condition=Q(active=True), name="thresholds_due"),
            models.Index(fields=("metric",), condition=Q(active=True), name="thresholds_of_a_metric"),
            models.Index(
                fields=("denominator",),
                condition=Q(active=True) & ~Q(denominator=""),
                name="thresholds_of_a_denominator",
            ),
            models.Index(fields=("owner",), condition=~Q(owner=""), name="thresholds_of_an_owner"),
            models.Index(fields=("id",), condition=Q(active=True) & ~Q(members=[]), name="combined_thresholds"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=("library", "service", "environment"),
                condition=Q(active=True) & ~Q(library=""),
                name="one_threshold_a_definition_and_place",
            ),
            models.UniqueConstraint(fields=("source", "name"), condition=~Q(source=""), name="one_name_a_source"),
            models.CheckConstraint(
                condition=Q(warning__isnull=False) | Q(error__isnull=False) | Q(critical__isnull=False),
                name="threshold_has_a_bound",
            ),
            models.CheckConstraint(
                condition=Q(response="") | Q(error__isnull=False) | Q(critical__isnull=False),
                name="warning_alone_responds_to_nothing",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class DueThreshold(models.Model):
    """A threshold to be judged at once, because a sample that concerns it has just arrived."""

    threshold = models.OneToOneField(Threshold, models.CASCADE, primary_key=True, related_name="mark")

    def __str__(self) -> str:
        return f"threshold {self.threshold_id}"


class AlertState(models.Model):
    """Where the judge stands with one threshold (and one group of its series). Only the judge writes it."""

    class Phase(models.TextChoices):
        INACTIVE = Phase.INACTIVE.value
        PENDING = Phase.PENDING.value
        FIRING = Phase.FIRING.value

    threshold = models.ForeignKey(Threshold, models.CASCADE, related_name="states")
    group = models.CharField(max_length=200, blank=True, default="", help_text="empty: all series together")
    phase = models.CharField(max_length=10, choices=Phase, default=Phase.INACTIVE.value)
    level = models.CharField(max_length=10, choices=[(one.value, one.value) for one in Level], blank=True, default="")
    warning_since = models.DateTimeField(null=True)
    error_since = models.DateTimeField(null=True)
    critical_since = models.DateTimeField(null=True)
    clear_since = models.DateTimeField(null=True)
    seen_at = models.DateTimeField(null=True, help_text="the last look that told anything")
    flips = ArrayField(models.DateTimeField(), default=list, help_text="when it fired and resolved of late")
    flapping = models.BooleanField(default=False)
    outcome = models.CharField(max_length=20, blank=True, default="", help_text="the verdict when it last changed")
    reason = models.TextField(blank=True, default="")
    value = models.FloatField(null=True)
    changed_at = models.DateTimeField(null=True)
    threshold_version = models.PositiveIntegerField(default=0)
    version = models.PositiveIntegerField(default=0, help_text="grows with every write: two judges, one winner")

    # What a look that turns nothing may move on; `flips` and `flapping` move with the alert alone.
    STANDING: Final = (
        "phase",
        "level",
        "warning_since",
        "error_since",
        "critical_since",
        "clear_since",
        "seen_at",
    )

    class Meta:
        ordering = ("threshold", "group")
        constraints = [models.UniqueConstraint(fields=("threshold", "group"), name="one_state_a_threshold_and_group")]

    def __str__(self) -> str:
        return f"{self.threshold_id} {self.group} {self.phase}".replace("  ", " ")

    def standing(self) -> State:
        """As the judge thinks of it."""
        since = {level: at for level in Level if (at := getattr(self, f"{level}_since")) is not None}
        level = Level(self.level) if self.level else None
        flips = tuple(self.flips)
        return State(Phase(self.phase), level, since, self.clear_since, self.seen_at, flips, self.flapping)

    def stand_at(self, state: State) -> None:
        self.phase = state.phase.value
        self.level = state.level.value if state.level else ""
        for level in Level:
            setattr(self, f"{level}_since", state.since.get(level))
        self.clear_since = state.clear_since
        self.seen_at = state.seen_at
        self.flips = list(state.flips)
        self.flapping = state.flapping

    def follow(self, state: State, reading: Reading, *, threshold_version: int, now: datetime) -> None:
        """The judge's next word: where the alert stands now, and the verdict that put it there."""
        self.stand_at(state)
        if self.outcome != reading.verdict.outcome:
            self.changed_at = now
        self.outcome = reading.verdict.outcome.value
        self.reason = reading.verdict.reason
        self.value = reading.value
        self.threshold_version = threshold_version
