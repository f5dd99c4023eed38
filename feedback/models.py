"""One piece of user feedback, and the questions about all of them."""

from datetime import datetime
from typing import Self

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from feedback.priority import Level
from feedback.sentiment import Label
from portal.models import Environment, Service


class EntryQuerySet(models.QuerySet["Entry"]):
    """The questions about entries."""

    def with_places(self) -> Self:
        return self.select_related("service", "environment")

    def uncounted(self, now: datetime) -> Self:
        """Entries whose rating is still to be added to the metric, and is due."""
        return self.filter(count_at__lte=now).order_by("count_at", "id")


class Entry(models.Model):
    """What one user said, once. Release, flag and variant are labels, as a metric sample's: plain text, no keys."""

    class Kind(models.TextChoices):
        BUG = "bug", "Bug"
        IDEA = "idea", "Idea"
        PRAISE = "praise", "Praise"
        QUESTION = "question", "Question"
        OTHER = "other", "Other"

    class Sentiment(models.TextChoices):
        POSITIVE = Label.POSITIVE.value
        NEUTRAL = Label.NEUTRAL.value
        NEGATIVE = Label.NEGATIVE.value

    class Priority(models.TextChoices):
        URGENT = Level.URGENT.value
        HIGH = Level.HIGH.value
        NORMAL = Level.NORMAL.value
        LOW = Level.LOW.value

    MAX_TEXT = 10_000
    MAX_PAGE = 2_000

    service = models.ForeignKey(Service, models.PROTECT, related_name="feedback")
    environment = models.ForeignKey(Environment, models.PROTECT, null=True, blank=True, related_name="feedback")
    kind = models.CharField(max_length=10, choices=Kind, default=Kind.OTHER)
    rating = models.PositiveSmallIntegerField(null=True, blank=True, help_text="1 to 5 stars")
    text = models.TextField(blank=True, max_length=MAX_TEXT)
    unit = models.CharField(max_length=200, blank=True, help_text="whom flags are decided for")
    email = models.EmailField(blank=True, help_text="personal: shown to who may operate")
    language = models.CharField(max_length=35, blank=True, help_text="as the writer said")
    page = models.CharField(max_length=MAX_PAGE, blank=True, help_text="where the writer was")
    labels = models.JSONField(default=dict, blank=True)
    release = models.CharField(max_length=200, blank=True)
    flag = models.CharField(max_length=200, blank=True)
    variant = models.CharField(max_length=200, blank=True)
    sentiment = models.CharField(max_length=10, choices=Sentiment, null=True, help_text="empty: it cannot be told")
    score = models.FloatField(default=0.0, help_text="-1 to 1")
    confidence = models.FloatField(default=0.0, help_text="0 to 1")
    engine = models.CharField(max_length=50, help_text="what judged the sentiment, with its version")
    words = models.JSONField(default=list, help_text="the words that decided the sentiment")
    priority = models.CharField(max_length=10, choices=Priority, default=Priority.NORMAL)
    priority_because = models.TextField(blank=True)
    created_at = models.DateTimeField(db_default=Now())
    count_at = models.DateTimeField(null=True, editable=False, help_text="when its rating is to be counted again")
    uncounted_because = models.TextField(blank=True, editable=False, help_text="why the metric lacks its rating")

    objects = EntryQuerySet.as_manager()

    class Meta:
        ordering = ("-id",)
        verbose_name = "feedback entry"
        verbose_name_plural = "feedback entries"
        indexes = [
            models.Index(fields=("service", "environment", "-id"), name="feedback_of_a_service"),
            models.Index(fields=("release", "-id"), name="feedback_of_a_release"),
            models.Index(fields=("created_at",), name="feedback_by_time"),
            models.Index(fields=("count_at",), condition=Q(count_at__isnull=False), name="feedback_to_count"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(rating__isnull=True) | Q(rating__range=(1, 5)), name="one_to_five_stars"
            ),
            models.CheckConstraint(condition=Q(rating__isnull=False) | ~Q(text=""), name="feedback_says_something"),
        ]

    def __str__(self) -> str:
        return f"feedback {self.pk}"
