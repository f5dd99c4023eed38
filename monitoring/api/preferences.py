"""How somebody wants to be told, by REST: everybody for themselves, who administers for all."""

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from monitoring.actions import preferences
from monitoring.api.silences import WallTime
from monitoring.models import Channel, NotificationPreference
from monitoring.suppressing import DAYS
from portal import permissions
from portal.drf import DoorSet, Serializer
from portal.models import User


class PreferenceShape(Serializer):
    """What is critical always comes at once. Times are those of the zone's wall clock."""

    zone = serializers.CharField(max_length=64, required=False)
    days = serializers.ListField(child=serializers.ChoiceField(DAYS), required=False, max_length=7)
    opens = WallTime(required=False)
    closes = WallTime(required=False)
    digest_at = WallTime(required=False)
    quiet_from = WallTime(required=False, allow_null=True)
    quiet_until = WallTime(required=False, allow_null=True)
    warning = serializers.ChoiceField(NotificationPreference.When.choices, required=False)
    info = serializers.ChoiceField(NotificationPreference.When.choices, required=False)
    channels = serializers.SlugRelatedField(
        "name", queryset=Channel.objects.exclude(owner=None), many=True, required=False
    )


class NotificationPreferences(DoorSet):
    serializer_class = PreferenceShape
    queryset = NotificationPreference.objects.none()

    @extend_schema(responses=PreferenceShape)
    def retrieve(self, request: Request, username: str) -> Response:
        """404 while nothing is chosen: everything comes at once."""
        found = get_object_or_404(NotificationPreference, user=self._person(username))
        return Response(PreferenceShape(found).data)

    @extend_schema(request=PreferenceShape, responses=PreferenceShape)
    def change(self, request: Request, username: str) -> Response:
        fields = self.body(PreferenceShape, partial=True)
        return Response(PreferenceShape(preferences.choose(self._person(username), fields, by=self.by)).data)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, username: str) -> Response:
        """Everything comes at once again."""
        preferences.forget(self._person(username), by=self.by)
        return Response(status=204)

    def _person(self, username: str) -> User:
        if not (isinstance(self.by, User) and self.by.username == username):
            permissions.require(self.by, "administer")
        return get_object_or_404(User, username=username)
