"""Reports in the admin: who wants them, and what was told."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from monitoring.actions import report_subscriptions, reports
from monitoring.models import Report, ReportSubscription
from portal.admin import ActionForm, Admin, ReadOnly, button

OURS = ("active", "due_at", "created_by", "created_at")


class ReportSubscriptionForm(ActionForm):
    class Meta:
        model = ReportSubscription
        fields = ("person", "period", "services", "environment", "at", "weekday", "zone", "by_mail")

    def act(self) -> ReportSubscription:
        fields = {name: value for name, value in self.cleaned_data.items() if name != "person"}
        fields["services"] = list(fields["services"])
        if self.instance.pk is None:
            return report_subscriptions.create(self.cleaned_data["person"], fields, by=self.by)
        return report_subscriptions.change(self.instance, fields, by=self.by)


@admin.register(ReportSubscription)
class ReportSubscriptionAdmin(Admin[ReportSubscription]):
    form = ReportSubscriptionForm
    list_display = ("person", "period", "environment", "at", "zone", "by_mail", "due_at", "active")
    list_filter = ("active", "period", "environment")
    list_select_related = ("person", "environment")
    search_fields = ("person__username",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[ReportSubscription]:
        seen = report_subscriptions.visible(request.user)  # type: ignore[arg-type]
        return super().get_queryset(request).filter(pk__in=seen.values("pk"))

    def get_fields(self, request: HttpRequest, obj: ReportSubscription | None = None) -> tuple[str, ...]:
        return (*ReportSubscriptionForm.Meta.fields, *(OURS if obj else ()))

    def get_readonly_fields(self, request: HttpRequest, obj: ReportSubscription | None = None) -> tuple[str, ...]:
        return ("person", *OURS) if obj else ()

    @button("End", asks_reason=True, danger=True, shown=lambda subscription: subscription.active)
    def end(self, request: HttpRequest, thing: ReportSubscription, because: str) -> str:
        report_subscriptions.delete(thing, by=request.user, because=because)  # type: ignore[arg-type]
        return f"{thing}: ended"


@admin.register(Report)
class ReportAdmin(ReadOnly[Report]):
    list_display = ("until", "person", "period", "zone", "sha256", "made_at")
    list_filter = ("period",)
    list_select_related = ("person",)
    search_fields = ("person__username",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Report]:
        seen = reports.visible(request.user)  # type: ignore[arg-type]
        return super().get_queryset(request).filter(pk__in=seen.values("pk"))
