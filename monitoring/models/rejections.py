"""What was turned away at the ways in, and why: counted, with one example."""

from django.db import models

from portal.models import Environment

LONGEST_REASON = 200
LONGEST_EXAMPLE = 1000


class Rejection(models.Model):
    """How often one sender was refused for one reason, through one way in, within one minute."""

    source = models.CharField(max_length=100, help_text="the way in: samples, remote_write, otlp, scrape…")
    sender = models.CharField(max_length=200, help_text="the key, person or automaton that sent it")
    reason = models.CharField(max_length=LONGEST_REASON, help_text="without the names and numbers of the single case")
    minute = models.DateTimeField()
    count = models.PositiveBigIntegerField(help_text="samples, alerts, errors or whole requests")
    example = models.CharField(max_length=LONGEST_EXAMPLE, blank=True, help_text="the minute's first, in full")
    environment = models.ForeignKey(
        Environment, models.CASCADE, null=True, related_name="+", help_text="of the sender's key, where it has one"
    )

    class Meta:
        ordering = ("-minute", "-id")
        constraints = [
            models.UniqueConstraint(fields=("minute", "source", "sender", "reason"), name="one_rejection_a_minute"),
        ]

    def __str__(self) -> str:
        return f"{self.source}: {self.count} × {self.reason}"
