"""Channels and the outbox in the admin."""

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.utils.safestring import SafeString

from monitoring import channels as kinds
from monitoring.actions import channels, outbox
from monitoring.models import Channel, NotificationPreference, OutboxMessage
from portal import permissions
from portal.admin import ActionForm, Admin, ReadOnly, button, pill


def _may_configure(request: HttpRequest) -> bool:
    """An address may be a secret itself."""
    who: Any = request.user
    return permissions.can(who, "configure", environment=permissions.ANY, service=permissions.ANY)


class ChannelForm(ActionForm):
    kind = forms.ChoiceField(choices=lambda: [(name, name) for name in kinds.names()])
    secret = forms.CharField(
        required=False,
        max_length=channels.LONGEST_SECRET,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text="signs what is sent, or is the bot's token or the routing key; left empty, it stays as it is",
    )
    signing_secret = forms.CharField(
        required=False,
        max_length=channels.LONGEST_SECRET,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text="of the Slack app, for its buttons; left empty, it stays as it is",
    )

    class Meta:
        model = Channel
        fields = ("name", "kind", "config", "secret", "signing_secret", "owner", "fold_after", "active")

    def act(self) -> Channel:
        fields = dict(self.cleaned_data)
        for name in ("secret", "signing_secret"):
            if not fields[name]:
                fields.pop(name)
        if self.instance.pk is None:
            return channels.create(fields, by=self.by)
        return channels.change(self.instance, fields, by=self.by)


@admin.register(Channel)
class ChannelAdmin(Admin[Channel]):
    form = ChannelForm
    list_display = ("name", "kind", "active", "health", "last_sent_at")
    search_fields = ("name",)

    def has_view_permission(self, request: HttpRequest, obj: Channel | None = None) -> bool:
        return _may_configure(request)

    @admin.display(description="health")
    def health(self, channel: Channel) -> SafeString:
        return pill("failing" if channel.failures else "ok")

    @button("Send a test message")
    def test(self, request: HttpRequest, thing: Channel, because: str) -> str:
        message = outbox.test(thing, by=request.user)  # type: ignore[arg-type]
        return f"message {message.pk} is on its way: the outbox tells what becomes of it"


@admin.register(OutboxMessage)
class OutboxAdmin(ReadOnly[OutboxMessage]):
    list_display = ("id", "kind", "channel", "status", "attempts", "due_at", "last_error", "sent_at")
    list_filter = ("state", "channel")
    list_select_related = ("channel",)
    search_fields = ("dedupe_key",)
    exclude = ("lease_token",)

    def has_view_permission(self, request: HttpRequest, obj: OutboxMessage | None = None) -> bool:
        return _may_configure(request)

    @admin.display(description="state", ordering="state")
    def status(self, message: OutboxMessage) -> SafeString:
        return pill(message.state)

    @button("Send again", shown=lambda message: message.state == OutboxMessage.State.DEAD)
    def resend(self, request: HttpRequest, thing: OutboxMessage, because: str) -> str:
        outbox.resend(thing, by=request.user, because=because)  # type: ignore[arg-type]
        return "it is sent again"


@admin.register(NotificationPreference)
class PreferenceAdmin(ReadOnly[NotificationPreference]):
    list_display = ("user", "zone", "warning", "info", "changed_at")
    list_select_related = ("user",)

    def has_view_permission(self, request: HttpRequest, obj: NotificationPreference | None = None) -> bool:
        return permissions.can(request.user, "administer")  # type: ignore[arg-type]
