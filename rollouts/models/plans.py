"""Plans: versioned templates of how a release reaches people. A changed plan is a new row."""

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now


def name_validator(value: str) -> None:
    """A name that can stand in an address and in a sentence."""
    if not value.isprintable() or "/" in value or value != value.strip() or not value:
        raise ValidationError("printable, without a slash, and without spaces at its ends")


class Plan(models.Model):
    """One version of a plan. Its content never changes; its hash is what votes are cast on."""

    name = models.CharField(max_length=128, validators=[name_validator])
    version = models.PositiveIntegerField()
    hash = models.CharField(max_length=64, help_text="SHA-256 of the canonical content")
    content = models.JSONField()
    current = models.BooleanField(default=True, help_text="the newest version, used by deployments that have not begun")
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+", editable=False
    )
    author_name = models.CharField(max_length=200, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ("name", "-version")
        constraints = [
            models.UniqueConstraint(fields=("name", "version"), name="one_plan_a_version"),
            models.UniqueConstraint(fields=("name",), condition=Q(current=True), name="one_current_version_a_plan"),
        ]

    def __str__(self) -> str:
        return f"{self.name} v{self.version}"
