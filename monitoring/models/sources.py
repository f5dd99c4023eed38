"""What the portal asks by itself: targets to scrape, queries, probes, and the machine that it runs on."""

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from portal.models import Environment, Service
from portal.secrets import EncryptedTextField


class MetricSource(models.Model):
    """One place that is asked in an interval. What its `config` holds is the business of its kind."""

    class Outcome(models.TextChoices):
        """How its last pull went."""

        WAITING = "waiting"
        OK = "ok"
        PARTLY = "partly"
        FAILING = "failing"

    name = models.CharField(max_length=100, unique=True, help_text="also the label `job` of what it brings")
    kind = models.CharField(max_length=40)
    config = models.JSONField(default=dict, blank=True)
    secret = EncryptedTextField(
        blank=True, default="", help_text="token, password or header's value, as `auth` says; never shown again"
    )
    labels = models.JSONField(default=dict, blank=True, help_text="added to every sample")
    service = models.ForeignKey(Service, models.PROTECT, null=True, blank=True, related_name="sources")
    environment = models.ForeignKey(Environment, models.PROTECT, null=True, blank=True, related_name="sources")
    interval = models.PositiveIntegerField(
        default=15, validators=[MinValueValidator(1), MaxValueValidator(86_400)], help_text="seconds"
    )
    timeout = models.PositiveSmallIntegerField(
        default=5, validators=[MinValueValidator(1), MaxValueValidator(30)], help_text="seconds, for all of one pull"
    )
    active = models.BooleanField(default=True)
    due_at = models.DateTimeField(db_default=Now(), editable=False, help_text="while leased: when the lease ends")
    lease_token = models.UUIDField(null=True, editable=False)
    outcome = models.CharField(max_length=10, choices=Outcome, default=Outcome.WAITING, editable=False)
    failures = models.PositiveIntegerField(default=0, editable=False, help_text="pulls in a row that failed")
    last_pull_at = models.DateTimeField(null=True, editable=False)
    last_ok_at = models.DateTimeField(null=True, editable=False)
    last_error = models.TextField(blank=True, default="", editable=False)
    duration = models.FloatField(null=True, editable=False, help_text="of the last pull, in seconds")
    samples = models.PositiveIntegerField(default=0, editable=False, help_text="that the last pull brought")
    rejected = models.PositiveIntegerField(default=0, editable=False, help_text="of them")
    skew = models.FloatField(null=True, editable=False, help_text="seconds that its clock is ahead of ours")
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ("name",)
        indexes = [models.Index(fields=("due_at", "id"), condition=Q(active=True), name="sources_due")]
        constraints = [
            models.CheckConstraint(condition=Q(interval__gte=1, timeout__gte=1), name="source_takes_its_time"),
            models.CheckConstraint(condition=Q(timeout__lte=F("interval")), name="source_ends_before_its_next_pull"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def state(self) -> str:
        """As a pill shows it."""
        return str(self.outcome) if self.active else "paused"
