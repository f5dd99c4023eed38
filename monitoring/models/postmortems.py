"""What is learnt from incidents: post-mortems with their versions, and the actions that follow from them."""

from typing import ClassVar, Self

from django.db import models
from django.db.models.functions import Now

from monitoring.models.incidents import Incident
from portal.models import User


class PostMortem(models.Model):
    """Owed after an incident, drafted from what is on record, finished by people. Only actions change it."""

    class Status(models.TextChoices):
        DRAFT = "draft"
        PUBLISHED = "published"
        WAIVED = "waived"

    MOVES: ClassVar[dict[str, set[str]]] = {
        Status.DRAFT: {Status.PUBLISHED, Status.WAIVED},
        Status.WAIVED: {Status.PUBLISHED},
        Status.PUBLISHED: set(),
    }

    incident = models.OneToOneField(Incident, models.PROTECT, related_name="post_mortem")
    status = models.CharField(max_length=10, choices=Status, default=Status.DRAFT, editable=False)
    content = models.JSONField(default=dict, editable=False, help_text="the text of each section")
    version = models.PositiveIntegerField(default=0, editable=False, help_text="0: as drafted, nobody has edited it")
    due_at = models.DateTimeField(editable=False)
    remind_at = models.DateTimeField(null=True, editable=False, help_text="when its people are told next")
    published_at = models.DateTimeField(null=True, editable=False)
    waived_because = models.TextField(blank=True, default="", editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ("-id",)
        verbose_name = "post-mortem"
        indexes = [
            models.Index(
                fields=("remind_at",), condition=models.Q(remind_at__isnull=False), name="post_mortems_to_remind"
            )
        ]

    def __str__(self) -> str:
        return f"post-mortem of incident {self.incident_id}"


class PostMortemVersion(models.Model):
    """The text as somebody left it. Append-only, by a trigger."""

    post_mortem = models.ForeignKey(PostMortem, models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField()
    content = models.JSONField()
    author = models.CharField(max_length=200)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ("post_mortem", "-number")
        verbose_name = "version of a post-mortem"
        verbose_name_plural = "versions of post-mortems"
        constraints = [models.UniqueConstraint(fields=("post_mortem", "number"), name="one_version_a_number")]

    def __str__(self) -> str:
        return f"{self.post_mortem_id}.{self.number}"


class ActionItemQuerySet(models.QuerySet["ActionItem"]):
    """The questions about action items."""

    def open(self) -> Self:
        return self.filter(status=ActionItem.Status.OPEN)


class ActionItem(models.Model):
    """Something to be done so that it does not happen again."""

    class Status(models.TextChoices):
        OPEN = "open"
        DONE = "done"
        DROPPED = "dropped"

    MOVES: ClassVar[dict[str, set[str]]] = {
        Status.OPEN: {Status.DONE, Status.DROPPED},
        Status.DONE: {Status.OPEN},
        Status.DROPPED: {Status.OPEN},
    }

    incident = models.ForeignKey(Incident, models.PROTECT, related_name="action_items")
    title = models.CharField(max_length=300)
    owner = models.ForeignKey(User, models.SET_NULL, null=True, blank=True, related_name="action_items")
    due_on = models.DateField(null=True, blank=True)
    status = models.CharField(max_length=10, choices=Status, default=Status.OPEN, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    ended_at = models.DateTimeField(null=True, editable=False)

    objects = ActionItemQuerySet.as_manager()

    class Meta:
        ordering = ("-id",)
        indexes = [models.Index(fields=("status", "due_on"), name="action_items_by_due_date")]

    def __str__(self) -> str:
        return self.title
