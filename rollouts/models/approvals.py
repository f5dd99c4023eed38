"""Votes: what people said about a run, and on which plan they said it."""

from typing import Self

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from rollouts.models.deployments import Deployment

# The one rule that an environment can ask for before a run begins, and an approval gate's default.
FOUR_EYES = "four_eyes"


class VoteQuerySet(models.QuerySet["Vote"]):
    """The questions about votes."""

    def standing(self, deployment: Deployment, *, stage_index: int | None) -> Self:
        """What counts now: cast in this epoch and stage, on the plan as it is, by people who are still here."""
        return self.filter(
            deployment=deployment,
            epoch=deployment.epoch,
            stage_index=stage_index,
            plan_hash=deployment.plan_hash,
            person__is_active=True,
        )


class Vote(models.Model):
    """One person's word under one rule. It counts only on the plan hash that it was cast on."""

    class Value(models.TextChoices):
        GO = "go", "go"
        NO_GO = "no_go", "no-go"
        ABSTAIN = "abstain", "abstain"

    deployment = models.ForeignKey(Deployment, models.CASCADE, related_name="votes")
    epoch = models.PositiveIntegerField()
    stage_index = models.PositiveSmallIntegerField(null=True, help_text="empty: before the first stage")
    rule = models.CharField(max_length=64)
    person = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    value = models.CharField(max_length=10, choices=Value)
    comment = models.TextField(blank=True)
    plan_hash = models.CharField(max_length=64)
    at = models.DateTimeField()
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    objects = VoteQuerySet.as_manager()

    class Meta:
        ordering = ("id",)
        constraints = [
            models.UniqueConstraint(
                fields=("deployment", "epoch", "stage_index", "rule", "person"),
                nulls_distinct=False,
                name="one_vote_a_person",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.person}: {self.get_value_display()}"
