"""Releases in the admin."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from portal import permissions
from portal.admin import ActionForm, Admin
from rollouts.actions import releases
from rollouts.models import Release

CHANGEABLE = ("commit", "type", "risk", "notes", "captain", "zone", "t0")


class ReleaseForm(ActionForm):
    class Meta:
        model = Release
        fields = ("service", "version", *CHANGEABLE)

    def act(self) -> Release:
        given = dict(self.cleaned_data)
        if self.instance.pk is None:
            return releases.create(given.pop("service"), given.pop("version"), by=self.by, **given)
        return releases.change(self.instance, by=self.by, **{name: given[name] for name in CHANGEABLE})


@admin.register(Release)
class ReleaseAdmin(Admin[Release]):
    form = ReleaseForm
    list_display = ("__str__", "type", "risk", "captain", "t0", "created_at")
    list_filter = ("service", "type", "risk")
    list_select_related = ("service",)
    search_fields = ("version", "commit", "service__key")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Release]:
        return permissions.visible(request.user, super().get_queryset(request), environment=None)  # type: ignore[arg-type]

    def get_readonly_fields(self, request: HttpRequest, obj: Release | None = None) -> tuple[str, ...]:
        return ("service", "version") if obj else ()
