"""Events, exposures and their counts in the admin, to be read."""

from typing import TypeVar

from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest

from monitoring.models import Event, Exposure, VariantCount, VariantUse
from portal import permissions
from portal.admin import ReadOnly, seen_whole
from portal.audit import Actor

M = TypeVar("M", bound=Model)


class Rows(ReadOnly[M]):
    """Many rows, without a service: shown to those who may view an environment whole."""

    # Counting all rows for "n results of m" would cost more than the page.
    show_full_result_count = False
    list_select_related = ("environment",)

    def has_view_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        return bool(seen_whole(request))

    def get_queryset(self, request: HttpRequest) -> "QuerySet[M]":
        return super().get_queryset(request).filter(environment__in=seen_whole(request))


@admin.register(Event)
class EventAdmin(ReadOnly[Event]):
    show_full_result_count = False
    list_display = ("name", "unit", "time", "environment", "service", "flag", "variant", "value")
    list_filter = ("environment", "service")
    list_select_related = ("environment", "service")
    search_fields = ("name", "unit", "flag")

    def get_queryset(self, request: HttpRequest) -> "QuerySet[Event]":
        return permissions.visible(_by(request), super().get_queryset(request))


@admin.register(Exposure)
class ExposureAdmin(Rows[Exposure]):
    list_display = ("unit", "flag", "variant", "environment", "time", "revision", "reason", "source")
    list_filter = ("environment", "source")
    search_fields = ("unit", "flag")


@admin.register(VariantCount)
class VariantCountAdmin(Rows[VariantCount]):
    list_display = ("flag", "variant", "environment", "minute", "hourly", "evaluations", "exposures")
    list_filter = ("environment", "hourly")
    search_fields = ("flag",)


@admin.register(VariantUse)
class VariantUseAdmin(Rows[VariantUse]):
    list_display = ("flag", "variant", "environment", "first_evaluated_at", "last_evaluated_at", "last_exposed_at")
    list_filter = ("environment",)
    search_fields = ("flag",)


def _by(request: HttpRequest) -> Actor:
    return request.user  # type: ignore[return-value]
