"""Channels and the outbox by REST. An address may be a secret itself: only who may configure sees them."""

from typing import Any

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from django_filters import rest_framework as filters
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from monitoring import channels as kinds
from monitoring.actions import channels, outbox
from monitoring.api.choosing import chosen
from monitoring.api.incidents import PossiblyBecause
from monitoring.models import Channel, OutboxMessage
from portal import permissions
from portal.drf import DoorSet, Serializer
from portal.models import User

EXAMPLE = OpenApiExample(
    "a webhook",
    value={"name": "ops", "kind": "webhook", "config": {"url": "https://example.com/hook"}, "secret": "sesame"},
    request_only=True,
)


class ChannelShape(Serializer):
    id = serializers.IntegerField(read_only=True)
    name = serializers.CharField(max_length=200)
    kind = serializers.ChoiceField(kinds.names())
    config = serializers.DictField(child=serializers.JSONField())
    secret = serializers.CharField(
        max_length=channels.LONGEST_SECRET, required=False, allow_blank=True, write_only=True, trim_whitespace=False
    )
    signing_secret = serializers.CharField(
        max_length=channels.LONGEST_SECRET, required=False, allow_blank=True, write_only=True, trim_whitespace=False
    )
    fold_after = serializers.IntegerField(min_value=0, max_value=10_000, required=False, allow_null=True)
    owner = serializers.SlugRelatedField("username", queryset=User.objects.all(), required=False, allow_null=True)
    failures = serializers.IntegerField(read_only=True)
    resting_until = serializers.DateTimeField(read_only=True, allow_null=True)
    last_sent_at = serializers.DateTimeField(read_only=True, allow_null=True)
    has_secret = serializers.SerializerMethodField()
    active = serializers.BooleanField(required=False)
    created_at = serializers.DateTimeField(read_only=True)

    def get_has_secret(self, channel: Channel) -> bool:
        return bool(channel.secret)


class MessageShape(serializers.ModelSerializer[OutboxMessage]):
    channel = serializers.CharField(source="channel.name")
    payload = serializers.DictField(child=serializers.JSONField())

    class Meta:
        model = OutboxMessage
        fields = (
            "id", "channel", "kind", "dedupe_key", "payload", "state", "attempts", "last_error",
            "thread", "folded_into",
            "due_at", "created_at", "give_up_at", "sent_at",
        )  # fmt: skip


class MessageFilter(filters.FilterSet):
    channel = filters.CharFilter("channel__name")

    class Meta:
        model = OutboxMessage
        fields = ("state", "kind")


class Channels(DoorSet):
    serializer_class = ChannelShape
    queryset = Channel.objects.none()

    @extend_schema(responses=ChannelShape(many=True))
    def list(self, request: Request) -> Response:
        return self.page(self._seen(), ChannelShape)

    @extend_schema(request=ChannelShape, responses={201: ChannelShape}, examples=[EXAMPLE])
    def create(self, request: Request) -> Response:
        return Response(ChannelShape(channels.create(self.body(ChannelShape), by=self.by)).data, status=201)

    @extend_schema(responses=ChannelShape)
    def retrieve(self, request: Request, pk: int) -> Response:
        return Response(ChannelShape(self._find(pk)).data)

    @extend_schema(request=ChannelShape, responses=ChannelShape, examples=[EXAMPLE])
    def replace(self, request: Request, pk: int) -> Response:
        """The secret, which is never shown, stays as it is when it is left out."""
        fields: dict[str, Any] = {"active": True, **self.body(ChannelShape)}
        return Response(ChannelShape(channels.change(self._find(pk), fields, by=self.by)).data)

    @extend_schema(request=ChannelShape, responses=ChannelShape)
    def change(self, request: Request, pk: int) -> Response:
        fields = self.body(ChannelShape, partial=True)
        return Response(ChannelShape(channels.change(self._find(pk), fields, by=self.by)).data)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: int) -> Response:
        channels.delete(self._find(pk), by=self.by)
        return Response(status=204)

    @extend_schema(request=None, responses={202: MessageShape})
    def test(self, request: Request, pk: int) -> Response:
        """Send a test message; the outbox tells what became of it."""
        return Response(MessageShape(outbox.test(self._find(pk), by=self.by)).data, status=202)

    def _find(self, pk: int) -> Channel:
        return get_object_or_404(self._seen(), pk=pk)

    def _seen(self) -> QuerySet[Channel]:
        permissions.require(self.by, "configure", environment=permissions.ANY, service=permissions.ANY)
        return Channel.objects.select_related("owner")


class Outbox(DoorSet):
    """What was sent, what waits, and what nobody took."""

    serializer_class = MessageShape
    filterset_class = MessageFilter
    queryset = OutboxMessage.objects.none()

    @extend_schema(responses=MessageShape(many=True))
    def list(self, request: Request) -> Response:
        return self.page(chosen(MessageFilter, request, self._seen()), MessageShape)

    @extend_schema(responses=MessageShape)
    def retrieve(self, request: Request, pk: int) -> Response:
        return Response(MessageShape(self._find(pk)).data)

    @extend_schema(request=PossiblyBecause, responses=MessageShape)
    def resend(self, request: Request, pk: int) -> Response:
        """A dead message gets another day."""
        because = self.body(PossiblyBecause)["because"]
        message = self._find(pk)
        outbox.resend(message, by=self.by, because=because)
        return Response(MessageShape(message).data)

    def _find(self, pk: int) -> OutboxMessage:
        return get_object_or_404(self._seen(), pk=pk)

    def _seen(self) -> QuerySet[OutboxMessage]:
        permissions.require(self.by, "configure", environment=permissions.ANY, service=permissions.ANY)
        return OutboxMessage.objects.select_related("channel")
