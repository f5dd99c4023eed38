"""People, services, environments, keys, and what the portal remembers of what was done."""

from django.contrib.auth.models import AbstractUser
from django.contrib.postgres.fields import ArrayField
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

KEY_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z"
key_validator = RegexValidator(
    KEY_PATTERN, "1 to 128 letters, digits, dots, dashes or underscores, beginning with a letter or a digit"
)


class User(AbstractUser):
    """A person who signs in."""

    class Meta(AbstractUser.Meta):
        pass

    def __str__(self) -> str:
        return self.get_full_name() or self.username


class Service(models.Model):
    """A monitored application."""

    key = models.CharField(max_length=128, unique=True, validators=[key_validator])
    name = models.CharField(max_length=200, blank=True)
    description = models.TextField(blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ("key",)

    def __str__(self) -> str:
        return self.key


class Environment(models.Model):
    """production, staging…: owns its flag state and its approval policy."""

    class ApprovalPolicy(models.TextChoices):
        UNDECIDED = "", "not decided: nothing may start"
        NOT_REQUIRED = "not_required", "no approval needed"
        FOUR_EYES = "four_eyes", "one approver who is not the author"

    key = models.CharField(max_length=128, unique=True, validators=[key_validator])
    name = models.CharField(max_length=200, blank=True)
    rank = models.PositiveSmallIntegerField(default=0, help_text="order in lists; production last")
    protected = models.BooleanField(default=False, help_text="approval cannot be switched off here")
    approval_policy = models.CharField(max_length=20, choices=ApprovalPolicy, blank=True, default="")
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ("rank", "key")
        constraints = [
            models.CheckConstraint(
                condition=~Q(protected=True, approval_policy="not_required"),
                name="protected_environment_needs_approval",
                violation_error_message="a protected environment cannot do without approval",
            ),
        ]

    def __str__(self) -> str:
        return self.key


class Grant(models.Model):
    """A role of one person, in one environment or all, for one service or all."""

    class Role(models.TextChoices):
        VIEWER = "viewer"
        OPERATOR = "operator"
        APPROVER = "approver"
        CAPTAIN = "captain"
        OWNER = "owner"

    user = models.ForeignKey(User, models.CASCADE, related_name="grants")
    role = models.CharField(max_length=20, choices=Role)
    environment = models.ForeignKey(Environment, models.CASCADE, null=True, blank=True, help_text="empty: all")
    service = models.ForeignKey(Service, models.CASCADE, null=True, blank=True, help_text="empty: all")

    class Meta:
        ordering = ("user", "role", "id")
        constraints = [
            models.UniqueConstraint(
                fields=("user", "role", "environment", "service"), nulls_distinct=False, name="one_grant_of_a_kind"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user} is {self.role} in {self.environment or 'all environments'}"


class Seat(models.Model):
    """A person who is there for the demo alone. While there are seats the demo is loaded; signing in names them."""

    user = models.OneToOneField(User, models.CASCADE, primary_key=True, related_name="seat")
    rank = models.PositiveSmallIntegerField(help_text="order on the login page")
    role = models.CharField(max_length=100, help_text="in a few words: who sits here")
    may = models.CharField(max_length=200, help_text="in a few words: what the role allows")

    class Meta:
        ordering = ("rank",)

    def __str__(self) -> str:
        return f"{self.user}, {self.role}"


class ApiKey(models.Model):
    """A machine's key. Only its SHA-256 is kept; the key itself is shown once."""

    class Scope(models.TextChoices):
        EVALUATE = "evaluate"
        INGEST = "ingest"
        FEEDBACK = "feedback"
        BROWSER = "browser"
        EVIDENCE = "evidence"
        READ = "read"
        WRITE = "write"
        ADMIN = "admin"

    name = models.CharField(max_length=200)
    prefix = models.CharField(max_length=12, editable=False, help_text="the first characters, to recognise it by")
    digest = models.CharField(max_length=64, unique=True, editable=False)
    scopes = ArrayField(models.CharField(max_length=20, choices=Scope))
    all_environments = models.BooleanField(default=False)
    environments = models.ManyToManyField(Environment, blank=True, related_name="keys")
    all_services = models.BooleanField(default=True)
    services = models.ManyToManyField(Service, blank=True, related_name="keys")
    origins = ArrayField(
        models.CharField(max_length=300),
        default=list,
        blank=True,
        help_text="of a browser key: the sites whose pages may use it, as https://shop.example.com",
    )
    created_by = models.CharField(max_length=200, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        ordering = ("name", "id")
        verbose_name = "API key"
        constraints = [
            # Whoever opens the page's source reads it: it is no secret, and so may do nothing else.
            models.CheckConstraint(
                condition=~Q(scopes__contains=["browser"]) | Q(scopes=["browser"], all_environments=False),
                name="browser_key_may_do_nothing_else",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    @property
    def is_public(self) -> bool:
        """Whether it stands in pages for all to read."""
        return self.scopes == [self.Scope.BROWSER]


class AuditEntry(models.Model):
    """One thing that somebody did. Append-only by a trigger; sealed into a hash chain by the sealer."""

    at = models.DateTimeField(db_default=Now())
    actor_kind = models.CharField(max_length=20)
    actor_id = models.CharField(max_length=100, blank=True)
    actor = models.CharField(max_length=200)
    verb = models.CharField(max_length=100)
    object_type = models.CharField(max_length=100)
    object_id = models.CharField(max_length=200)
    object_label = models.CharField(max_length=300)
    before = models.JSONField(null=True)
    after = models.JSONField(null=True)
    because = models.TextField(blank=True)
    request_id = models.CharField(max_length=64, blank=True)
    position = models.BigIntegerField(null=True, unique=True)
    digest = models.CharField(max_length=64, blank=True)

    class Meta:
        ordering = ("-id",)
        verbose_name_plural = "audit entries"
        indexes = [
            models.Index(fields=("object_type", "object_id", "-id"), name="audit_by_object"),
            models.Index(fields=("id",), condition=Q(position=None), name="audit_unsealed"),
        ]

    def __str__(self) -> str:
        return f"{self.actor} {self.verb} {self.object_label}"


class Heartbeat(models.Model):
    """When a sweep last completed a whole cycle."""

    name = models.CharField(max_length=100, primary_key=True)
    at = models.DateTimeField()
    cycle_ms = models.PositiveIntegerField(help_text="how long the cycle took, in milliseconds")
    backlog = models.PositiveIntegerField(default=0, help_text="how many things it did in that cycle")

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class Version(models.Model):
    """A counter that grows with every committed change of one kind (see portal.versions)."""

    name = models.CharField(max_length=50, primary_key=True)
    value = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.name} {self.value}"


class Reply(models.Model):
    """The answer to a write that carried an Idempotency-Key, to be given again to a retry."""

    actor = models.CharField(max_length=150)
    key = models.CharField(max_length=200)
    request_digest = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField(null=True)
    body = models.JSONField(null=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name_plural = "replies"
        constraints = [models.UniqueConstraint(fields=("actor", "key"), name="one_reply_a_key")]

    def __str__(self) -> str:
        return f"{self.actor} {self.key}"
