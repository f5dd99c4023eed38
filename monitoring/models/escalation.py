"""Who is called until one answers: rotas of people on call, and policies that go from one step to the next."""

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from portal.models import User, key_validator


class Rota(models.Model):
    """People who take turns at being on call. What a layer says, `actions/rotas.py` checks."""

    key = models.CharField(max_length=128, unique=True, validators=[key_validator])
    name = models.CharField(max_length=200)
    zone = models.CharField(max_length=64, default="UTC", help_text="such as Europe/Warsaw")
    layers = models.JSONField(
        help_text='[{"people": ["dana", "sam"], "every": "week", "handover": "09:00", "starts_on": "2026-11-02"}]; '
        "the first that has somebody decides"
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ("key",)

    def __str__(self) -> str:
        return self.name


class RotaOverride(models.Model):
    """Somebody stands in for whoever would be on call."""

    rota = models.ForeignKey(Rota, models.CASCADE, related_name="overrides")
    person = models.ForeignKey(User, models.CASCADE, related_name="+")
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    comment = models.TextField(blank=True, help_text="why")
    author = models.CharField(max_length=200, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ("-id",)
        indexes = [models.Index(fields=("rota", "ends_at"), name="rota_overrides_by_end")]
        constraints = [
            models.CheckConstraint(condition=Q(ends_at__gt=F("starts_at")), name="override_ends_after_start")
        ]

    def __str__(self) -> str:
        return f"{self.person} for {self.rota}"


class EscalationPolicy(models.Model):
    """Whom an incident calls, step after step, until one answers. It is copied onto the incident when that opens."""

    key = models.CharField(max_length=128, unique=True, validators=[key_validator])
    name = models.CharField(max_length=200)
    steps = models.JSONField(
        help_text='[{"delay": 900, "people": ["dana"], "rotas": ["primary"], "channels": ["ops"]}]; '
        "delay: seconds without an answer until the next step"
    )
    repeat = models.PositiveSmallIntegerField(default=2, help_text="how often it begins anew when nobody answers")
    remind_after = models.PositiveIntegerField(
        null=True,
        blank=True,
        help_text="seconds after which whoever took it is asked whether they are still on it; empty: never",
    )
    is_default = models.BooleanField(default=False, help_text="for incidents whose definition names no policy")
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ("key",)
        verbose_name_plural = "escalation policies"
        constraints = [
            models.UniqueConstraint(fields=("is_default",), condition=Q(is_default=True), name="one_default_policy")
        ]

    def __str__(self) -> str:
        return self.name
