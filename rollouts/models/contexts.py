"""Contexts that flags were evaluated for, sampled: what previews and explanations are tried on."""

from django.db import models
from django.db.models.functions import Now

from portal.models import Environment


class ContextSample(models.Model):
    """The newest context seen of one unit in one environment, without its masked attributes."""

    environment = models.ForeignKey(Environment, models.CASCADE, related_name="context_samples")
    unit = models.CharField(max_length=512, blank=True, help_text="the context's targetingKey; empty when it has none")
    # Whose newest context this is: the unit, or where there is none the context itself.
    identity = models.CharField(max_length=64, editable=False)
    context = models.JSONField()
    at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ("-at", "-id")
        constraints = [
            models.UniqueConstraint(fields=("environment", "identity"), name="one_context_of_a_unit_in_an_environment")
        ]
        indexes = [
            models.Index(fields=("environment", "-at"), name="newest_contexts"),
            models.Index(fields=("environment", "unit"), name="contexts_of_a_unit"),
        ]

    def __str__(self) -> str:
        return f"{self.unit or 'no unit'} in {self.environment}"
