"""How the flags of an environment are called as environment variables."""

from django.db import models

from portal.models import Environment
from rollouts.engine import dotenv


class VariableNames(models.Model):
    """One environment's. Without a row the usual ones: FEATURE_NEW_CHECKOUT_ENABLED."""

    environment = models.OneToOneField(Environment, models.CASCADE, primary_key=True, related_name="variable_names")
    prefix = models.CharField(max_length=100, blank=True, default=dotenv.PREFIX)
    suffix = models.CharField(max_length=100, blank=True, default=dotenv.SUFFIX, help_text="of switches")
    value_suffix = models.CharField(max_length=100, blank=True, default="", help_text="of flags of other types")
    names = models.JSONField(
        default=dict, blank=True, help_text='flags that are called otherwise: {"flag": "NAME"}; null leaves one out'
    )

    class Meta:
        ordering = ("environment",)
        verbose_name = verbose_name_plural = "variable names"

    def __str__(self) -> str:
        return f"variable names of {self.environment}"

    def naming(self) -> dotenv.Naming:
        return dotenv.Naming(self.prefix, self.suffix, self.value_suffix, self.names)
