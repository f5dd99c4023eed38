"""Metrics and their series in the admin."""

from django.contrib import admin
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.http import HttpRequest

from monitoring.actions import metrics
from monitoring.models import Metric, Series
from portal.admin import ActionForm, Admin, ReadOnly


class MetricForm(ActionForm):
    class Meta:
        model = Metric
        fields = ("name", "type", "unit", "direction", "signal", "description")

    def act(self) -> Metric:
        if self.instance.pk is None:
            return metrics.define(by=self.by, **self.cleaned_data)
        return metrics.change(self.instance, self.cleaned_data, by=self.by)


@admin.register(Metric)
class MetricAdmin(Admin[Metric]):
    form = MetricForm
    list_display = ("name", "type", "unit", "direction", "series_count")
    list_filter = ("type",)
    search_fields = ("name", "description")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Metric]:
        # A subquery: counted for the rows of the page alone.
        own = Series.objects.filter(metric=OuterRef("pk")).order_by().values("metric")
        return super().get_queryset(request).annotate(series_count=Subquery(own.annotate(n=Count("pk")).values("n")))

    def get_readonly_fields(self, request: HttpRequest, obj: Metric | None = None) -> tuple[str, ...]:
        return ("name",) if obj else ()

    @admin.display(description="series", empty_value="0")
    def series_count(self, metric: Metric) -> int | None:
        return metric.series_count  # type: ignore[attr-defined]


@admin.register(Series)
class SeriesAdmin(ReadOnly[Series]):
    list_display = ("__str__", "environment", "service", "last_time", "last_value", "stale_at")
    list_filter = ("environment", "service")
    list_select_related = ("metric", "environment", "service")
    search_fields = ("metric__name",)
    # Counting all series for "n results of m" would cost more than the page.
    show_full_result_count = False
