"""Flags, their state in each environment, and every revision of both."""

import secrets
from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from portal.models import Environment, Service, key_validator


def new_salt() -> str:
    return secrets.token_hex(16)


class FlagQuerySet(models.QuerySet["Flag"]):
    def live(self) -> "FlagQuerySet":
        return self.filter(archived_at=None)

    def saying(self, words: str) -> "FlagQuerySet":
        return self.filter(Q(key__icontains=words) | Q(description__icontains=words) | Q(owner__icontains=words))


class Flag(models.Model):
    """What a flag is, everywhere: its variants and their values. What it does is in its configs."""

    class Type(models.TextChoices):
        """What the person wants; the engine knows only rules."""

        BOOLEAN = "boolean", "boolean"
        PERCENTAGE = "percentage", "percentage"
        USER_GROUP = "user_group", "user group"
        AB_TEST = "ab_test", "A/B test"
        TIME_BASED = "time_based", "time-based"

    class ValueType(models.TextChoices):
        BOOL = "bool"
        STRING = "string"
        INT = "int"
        FLOAT = "float"
        JSON = "json"

    class Purpose(models.TextChoices):
        RELEASE = "release"
        EXPERIMENT = "experiment"
        OPS = "ops"
        PERMISSION = "permission"

    class Risk(models.TextChoices):
        LOW = "low"
        MEDIUM = "medium"
        HIGH = "high"
        CRITICAL = "critical"

    key = models.CharField(max_length=128, unique=True, validators=[key_validator])
    type = models.CharField(max_length=20, choices=Type, default=Type.BOOLEAN)
    value_type = models.CharField(max_length=10, choices=ValueType, default=ValueType.BOOL)
    variants = models.JSONField(help_text='in order: [{"key": …, "value": …}]')
    purpose = models.CharField(max_length=20, choices=Purpose, default=Purpose.RELEASE)
    owner = models.CharField(max_length=200, blank=True)
    service = models.ForeignKey(
        Service, models.PROTECT, null=True, blank=True, related_name="flags", help_text="the owning service"
    )
    risk = models.CharField(max_length=10, choices=Risk, default=Risk.LOW)
    description = models.TextField(blank=True)
    tags = ArrayField(
        models.CharField(max_length=50), default=list, blank=True, help_text="free words, separated by commas"
    )
    expires_at = models.DateTimeField(
        null=True, blank=True, help_text="by when the flag is to be gone; it goes on serving after that"
    )
    permanent = models.BooleanField(default=False, help_text="meant to stay: never due for removal")
    # The identity of every bucketing decision: a new salt would move every user.
    salt = models.CharField(max_length=64, default=new_salt, editable=False)
    algo = models.CharField(max_length=30, default="r1", editable=False, help_text="how units are bucketed")
    revision = models.PositiveIntegerField(default=0, editable=False)
    archived_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(auto_now=True)
    changed_in = models.BigIntegerField(default=0, editable=False, db_index=True)

    objects = FlagQuerySet.as_manager()

    class Meta:
        ordering = ("key",)

    def __str__(self) -> str:
        return self.key

    def variant_keys(self) -> list[str]:
        return [variant["key"] for variant in self.variants]

    def definition(self) -> dict[str, Any]:
        """What a revision of the definition keeps."""
        return {
            "key": self.key,
            "type": self.type,
            "value_type": self.value_type,
            "variants": self.variants,
            "purpose": self.purpose,
            "owner": self.owner,
            "service": self.service.key if self.service else None,
            "risk": self.risk,
            "description": self.description,
            "tags": self.tags,
            "expires_at": self.expires_at.isoformat() if self.expires_at else None,
            "permanent": self.permanent,
            "archived": self.archived_at is not None,
        }


class FlagConfigQuerySet(models.QuerySet["FlagConfig"]):
    def of(self, flag: Flag, environment: Environment) -> "FlagConfig | None":
        return self.filter(flag=flag, environment=environment).first()


class FlagConfig(models.Model):
    """What a flag does in one environment. Percentages are kept as whole thousandths of a percent (0…100 000)."""

    flag = models.ForeignKey(Flag, models.CASCADE, related_name="configs")
    environment = models.ForeignKey(Environment, models.CASCADE, related_name="flag_configs")
    enabled = models.BooleanField(default=False, help_text="the kill switch: off serves the off variant to everyone")
    off_variant = models.CharField(max_length=128)
    rules = models.JSONField(default=list)
    fallthrough = models.JSONField(default=dict)
    overrides = models.JSONField(default=dict)
    prerequisites = models.JSONField(default=list)
    window = models.JSONField(null=True, blank=True)
    # Rules that a live deployment owns. They come before the rules made by hand.
    reserved = models.JSONField(default=list, editable=False)
    revision = models.PositiveIntegerField(default=0, editable=False)
    updated_at = models.DateTimeField(auto_now=True)
    changed_in = models.BigIntegerField(default=0, editable=False, db_index=True)

    objects = FlagConfigQuerySet.as_manager()

    class Meta:
        ordering = ("flag__key", "environment__rank")
        constraints = [
            models.UniqueConstraint(fields=("flag", "environment"), name="one_config_of_a_flag_in_an_environment")
        ]

    def __str__(self) -> str:
        return f"{self.flag} in {self.environment}"

    def document(self) -> dict[str, Any]:
        """What people edit: everything but the reserved rules."""
        return {
            "enabled": self.enabled,
            "off_variant": self.off_variant,
            "rules": self.rules,
            "fallthrough": self.fallthrough,
            "overrides": self.overrides,
            "prerequisites": self.prerequisites,
            "window": self.window,
        }

    def variants_used(self) -> set[str]:
        """Those that it serves to anybody, once it is on."""
        used = {self.off_variant, *self.overrides}
        for serve in (self.fallthrough, *(rule["serve"] for rule in (*self.reserved, *self.rules))):
            used |= {serve["variant"]} if "variant" in serve else set(serve.get("split", {}))
        return used | {rule["baseline"] for rule in self.reserved}

    @property
    def is_new(self) -> bool:
        """Nobody has ever said anything about the flag here: it is off."""
        return self._state.adding

    @property
    def killed(self) -> bool:
        """Switched off by hand, or switched off and on again before its deployment took notice."""
        return not self.enabled or any(rule.get("killed") for rule in self.reserved)


class FlagRevision(models.Model):
    """One write, for good: a trigger forbids changing or deleting it. Without environment: the definition."""

    flag = models.ForeignKey(Flag, models.PROTECT, related_name="revisions")
    environment = models.ForeignKey(Environment, models.PROTECT, null=True, related_name="+")
    number = models.PositiveIntegerField()
    document = models.JSONField(encoder=DjangoJSONEncoder)
    diff = models.JSONField(encoder=DjangoJSONEncoder, help_text="{field: [before, after]}")
    actor = models.CharField(max_length=200)
    because = models.TextField(blank=True)
    change_request = models.ForeignKey(
        "rollouts.ChangeRequest", models.PROTECT, null=True, related_name="+", help_text="that it carried out"
    )
    at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ("-id",)
        constraints = [
            models.UniqueConstraint(
                fields=("flag", "environment", "number"), nulls_distinct=False, name="one_revision_of_a_number"
            ),
            models.CheckConstraint(condition=Q(number__gt=0), name="flag_revisions_count_from_one"),
        ]

    def __str__(self) -> str:
        return f"{self.flag} {self.environment or 'definition'} r{self.number}"

    @property
    def is_first(self) -> bool:
        """The flag was made with it."""
        return self.environment_id is None and self.number == 1
