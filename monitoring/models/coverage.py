"""What need not be watched of a service, and who said so."""

from django.db import models
from django.db.models.functions import Now

from monitoring.coverage import SIGNALS
from portal.models import Environment, Service


class CoverageWaiver(models.Model):
    """A signal that does not concern a service: a nightly job has no traffic."""

    service = models.ForeignKey(Service, models.CASCADE, related_name="coverage_waivers")
    environment = models.ForeignKey(
        Environment, models.CASCADE, null=True, blank=True, related_name="+", help_text="empty: in every one"
    )
    signal = models.CharField(max_length=20, choices=SIGNALS)
    because = models.TextField()
    created_by = models.CharField(max_length=200, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ("service", "environment", "signal")
        constraints = [
            models.UniqueConstraint(
                fields=("service", "environment", "signal"), nulls_distinct=False, name="one_waiver_a_signal"
            )
        ]

    def __str__(self) -> str:
        return f"{self.signal} of {self.service}" + (f" in {self.environment}" if self.environment else "")
