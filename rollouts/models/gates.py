"""The stages and gates of one run, copied from its plan when it begins."""

from django.db import models

from portal.verdicts import Outcome
from rollouts.models.deployments import FULL_WEIGHT, Deployment


class Stage(models.Model):
    """One step of a run: how many see it, for how long, and what must hold before the next."""

    deployment = models.ForeignKey(Deployment, models.CASCADE, related_name="stages")
    epoch = models.PositiveIntegerField()
    index = models.PositiveSmallIntegerField()
    name = models.CharField(max_length=128)
    weight = models.PositiveIntegerField(help_text="thousandths of a percent")
    audience = models.JSONField(default=list)
    dwell = models.PositiveIntegerField(help_text="seconds")
    max_dwell = models.PositiveIntegerField(null=True, help_text="seconds")
    min_sample = models.PositiveIntegerField(null=True)

    class Meta:
        ordering = ("deployment", "epoch", "index")
        constraints = [
            models.UniqueConstraint(fields=("deployment", "epoch", "index"), name="one_stage_a_step"),
            models.CheckConstraint(
                condition=models.Q(weight__lte=FULL_WEIGHT), name="stage_weight_at_most_100_percent"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Gate(models.Model):
    """A condition of leaving a stage, with what its last check found."""

    stage = models.ForeignKey(Stage, models.CASCADE, related_name="gates")
    position = models.PositiveSmallIntegerField()
    kind = models.CharField(max_length=40)
    params = models.JSONField(default=dict)
    outcome = models.CharField(
        max_length=20, choices=[(one.value, one.value) for one in Outcome], default=Outcome.PENDING.value
    )
    reason = models.TextField(default="not checked yet")
    count = models.PositiveBigIntegerField(null=True)
    checked_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("stage", "position")
        constraints = [models.UniqueConstraint(fields=("stage", "position"), name="one_gate_a_position")]

    def __str__(self) -> str:
        return self.kind
