"""What rollouts tell in a report: releases, and how deployments went."""

from django.db.models import Q
from django.urls import reverse

from monitoring import sections
from monitoring.sections import LISTED, Item, Scope, Section, figure
from rollouts.models import Deployment, Release

Status = Deployment.Status
WELL = (Status.SUCCEEDED, Status.SUPERSEDED)
BADLY = (Status.ROLLING_BACK, Status.ROLLED_BACK)


@sections.register("deployments", rank=20)
def deployments(scope: Scope) -> Section:
    """Those that began in the period, as they stand now; beside those of the period before."""
    rows = scope.rows(Deployment.objects.all())
    within = rows.filter(started_at__gte=scope.since, started_at__lt=scope.until)
    before = rows.filter(started_at__gte=scope.before, started_at__lt=scope.since)
    releases = scope.rows(Release.objects.all(), environment=None)
    made = releases.filter(created_at__gte=scope.since, created_at__lt=scope.until).count()
    was = releases.filter(created_at__gte=scope.before, created_at__lt=scope.since).count()
    total, earlier = within.count(), before.count()
    taken_back, earlier_back = within.filter(status__in=BADLY).count(), before.filter(status__in=BADLY).count()
    well, earlier_well = within.filter(status__in=WELL).count(), before.filter(status__in=WELL).count()
    lines = [
        figure("Releases", made, was, words=sections.count),
        figure("Deployments", total, earlier, words=sections.count),
        figure("Succeeded", well, earlier_well, words=sections.count),
        figure("Taken back", taken_back, earlier_back, words=sections.count, better="lower"),
    ]
    if total:
        rate = earlier_back / earlier if earlier else None
        lines.append(figure("Failure rate", taken_back / total, rate, words=sections.share, better="lower"))
    shown = rows.filter(Q(pk__in=within.values("pk")) | Q(live=True))
    listed = shown.select_related("release__service", "environment").order_by("-started_at", "-id")
    items = [
        Item(
            f"{one.release} in {one.environment}",
            one.status,
            f"{one.started_at.astimezone(scope.zone):%d %b %H:%M}" if one.started_at else "not begun",
            reverse("deployment", args=[one.pk]),
        )
        for one in listed[:LISTED]
    ]
    return Section("Releases and deployments", lines, items, max(listed.count() - LISTED, 0))
