"""Where distributions stand that their source counts from its start on."""

from django.db import models


class Standing(models.Model):
    """The last point of one cumulative distribution: what is kept as a sample is what came since."""

    metric = models.CharField(max_length=200)
    fingerprint = models.UUIDField(help_text="of the labels")
    start = models.DateTimeField(null=True)
    time = models.DateTimeField()
    counted = models.JSONField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=("metric", "fingerprint"), name="one_standing_a_series")]
        indexes = [models.Index(fields=("time",), name="standings_to_forget")]

    def __str__(self) -> str:
        return f"{self.metric} {self.fingerprint}"
