"""How people and machines outside are told: the channels, and the outbox of what goes through them."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from portal.models import User
from portal.secrets import EncryptedTextField


class Channel(models.Model):
    """One place where messages go. What its `config` holds is the business of its kind."""

    name = models.CharField(max_length=200, unique=True)
    kind = models.CharField(max_length=40)
    config = models.JSONField(default=dict, blank=True)
    secret = EncryptedTextField(blank=True, default="", help_text="signs what is sent; never shown again")
    signing_secret = EncryptedTextField(
        blank=True, default="", help_text="of Slack: proves that a pressed button comes from it; never shown again"
    )
    active = models.BooleanField(default=True)
    owner = models.ForeignKey(
        User, models.CASCADE, null=True, blank=True, related_name="channels", help_text="whom it reaches: one person"
    )
    fold_after = models.PositiveSmallIntegerField(
        null=True, blank=True, help_text="messages a minute beyond which they become one; 0 never; empty: by its kind"
    )
    failures = models.PositiveIntegerField(default=0, editable=False, help_text="attempts in a row that failed")
    resting_until = models.DateTimeField(null=True, editable=False, help_text="nothing is tried before")
    free_at = models.DateTimeField(null=True, editable=False, help_text="when its pace allows the next message")
    last_sent_at = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class OutboxMessage(models.Model):
    """One message that must get out. Leased, sent outside any transaction, then confirmed by its lease."""

    class State(models.TextChoices):
        PENDING = "pending"
        SENT = "sent"
        DEAD = "dead"
        FOLDED = "folded"
        DROPPED = "dropped"

    channel = models.ForeignKey(Channel, models.CASCADE, related_name="messages")
    kind = models.CharField(max_length=60)
    thread = models.CharField(max_length=200, blank=True, default="", help_text="what is sent in its order")
    dedupe_key = models.CharField(max_length=200, unique=True)
    payload = models.JSONField()
    state = models.CharField(max_length=10, choices=State, default=State.PENDING)
    due_at = models.DateTimeField(db_default=Now(), help_text="while leased: when the lease ends")
    attempts = models.PositiveIntegerField(default=0)
    lease_token = models.UUIDField(null=True)
    last_error = models.TextField(blank=True, default="")
    first_failed_at = models.DateTimeField(null=True)
    folded_into = models.ForeignKey("self", models.SET_NULL, null=True, related_name="folded")
    created_at = models.DateTimeField(db_default=Now())
    give_up_at = models.DateTimeField()
    sent_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("-id",)
        indexes = [
            models.Index(fields=("due_at", "id"), condition=Q(state="pending"), name="outbox_due"),
            models.Index(fields=("channel", "state"), name="outbox_of_a_channel"),
            models.Index(fields=("channel", "sent_at"), name="outbox_sent_of_a_channel"),
            models.Index(fields=("channel", "thread", "id"), condition=Q(state="pending"), name="outbox_in_order"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} to {self.channel_id}"


class ChannelThread(models.Model):
    """What a channel remembers of one thread: where an incident's living message is."""

    channel = models.ForeignKey(Channel, models.CASCADE, related_name="threads")
    thread = models.CharField(max_length=200)
    mark = models.JSONField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=("channel", "thread"), name="one_mark_a_thread")]

    def __str__(self) -> str:
        return f"{self.thread} in {self.channel_id}"


class HookReceipt(models.Model):
    """A signed request that was taken: the same one again is a replay."""

    digest = models.CharField(max_length=64, primary_key=True)
    at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return self.digest
