"""How people and machines outside are told: the channels, and the outbox of what goes through them."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from portal.secrets import EncryptedTextField


class Channel(models.Model):
    """One place where messages go. What its `config` holds is the business of its kind."""

    name = models.CharField(max_length=200, unique=True)
    kind = models.CharField(max_length=40)
    config = models.JSONField(default=dict, blank=True)
    secret = EncryptedTextField(blank=True, default="", help_text="signs what is sent; never shown again")
    active = models.BooleanField(default=True)
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

    channel = models.ForeignKey(Channel, models.CASCADE, related_name="messages")
    kind = models.CharField(max_length=60)
    dedupe_key = models.CharField(max_length=200, unique=True)
    payload = models.JSONField()
    state = models.CharField(max_length=10, choices=State, default=State.PENDING)
    due_at = models.DateTimeField(db_default=Now(), help_text="while leased: when the lease ends")
    attempts = models.PositiveIntegerField(default=0)
    lease_token = models.UUIDField(null=True)
    last_error = models.TextField(blank=True, default="")
    created_at = models.DateTimeField(db_default=Now())
    give_up_at = models.DateTimeField()
    sent_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("-id",)
        indexes = [
            models.Index(fields=("due_at", "id"), condition=Q(state="pending"), name="outbox_due"),
            models.Index(fields=("channel", "state"), name="outbox_of_a_channel"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} to {self.channel_id}"
