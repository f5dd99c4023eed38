"""What monitoring tells in a report: health, incidents, objectives, errors, limits, scaling and advice."""

from datetime import datetime

from django.urls import reverse

from monitoring import sections
from monitoring.models import (
    Alert,
    Capacity,
    Incident,
    Recommendation,
    ScalingDecision,
    Slo,
    Threshold,
)
from monitoring.models.incidents import OPEN
from monitoring.queries import ratios
from monitoring.queries.incident_figures import figures
from monitoring.queries.scores import healths
from monitoring.sections import LISTED, Figure, Item, Scope, Section, figure


@sections.register("health", rank=10)
def health(scope: Scope) -> Section:
    """The score of each service as it is now, beside the one of the last report."""
    found = healths(scope.rows(Threshold.objects.all()), scope.rows(Alert.objects.all()), scope.rows(Slo.objects.all()))
    before = scope.previous.get("health", {})
    lines, data = [], {}
    for one in found:
        name = f"{one.service} in {one.environment}" if one.environment else one.service
        data[name] = one.score.value
        was, why = before.get(name), one.score.reason
        lines.append(figure(name, one.score.value, was, words=sections.count, better="higher", note=why))
    return Section(
        "Health",
        lines[:LISTED],
        more=max(len(lines) - LISTED, 0),
        empty="No threshold or objective watches these services: nothing is known of their health.",
        data=data,
    )


@sections.register("incidents", rank=30)
def incidents(scope: Scope) -> Section:
    rows = scope.rows(Incident.objects.all())
    [now] = figures(rows, since=scope.since, until=scope.until)
    [before] = figures(rows, since=scope.before, until=scope.since)
    lines = [figure("Opened", now.count, before.count, words=sections.count, better="lower")]
    for label, name in (("MTTA", "acknowledge"), ("MTTM", "mitigate"), ("MTTR", "resolve")):
        took, was = getattr(now, f"mean_to_{name}"), getattr(before, f"mean_to_{name}")
        if took is not None or was is not None:
            lines.append(
                figure(
                    label,
                    took.total_seconds() if took is not None else None,
                    was.total_seconds() if was is not None else None,
                    words=sections.span,
                    better="lower",
                    note="mean, of those that got so far" if took is not None else "",
                    without="none got so far",
                )
            )
    within = rows.filter(opened_at__gte=scope.since, opened_at__lt=scope.until)
    open_now = rows.filter(status__in=OPEN)
    listed = (within | open_now).distinct().select_related("service", "environment").order_by("severity", "-opened_at")
    items = [
        Item(
            f"{one.severity} {one.title}",
            one.status,
            f"{one.service} in {one.environment}, opened {_when(one.opened_at, scope)}",
            reverse("incident", args=[one.pk]),
        )
        for one in listed[:LISTED]
    ]
    return Section("Incidents", lines, items, max(listed.count() - LISTED, 0), "There was none.")


@sections.register("objectives", rank=40)
def objectives(scope: Scope) -> Section | None:
    rows = list(scope.rows(Slo.objects.active()).order_by("remaining", "name"))
    if not rows:
        return None
    before = scope.previous.get("objectives", {})
    lines = [
        figure(
            one.name,
            one.remaining,
            before.get(one.key),
            words=lambda left: f"{left:.0%} of the budget left",
            better="higher",
            note=f"{one.objective:g} % over {one.window // 86_400} days",
        )
        for one in rows
    ]
    return Section(
        "Objectives",
        lines[:LISTED],
        more=max(len(lines) - LISTED, 0),
        data={one.key: one.remaining for one in rows},
    )


@sections.register("errors", rank=50)
def errors(scope: Scope) -> Section | None:
    """Each ratio of two counters that a threshold judges, over the whole period."""
    judged = scope.rows(Threshold.objects.active().filter(members=[], slo=None).exclude(denominator=""))
    asked = ratios.distinct(judged.select_related("service", "environment"))
    if not asked:
        return None
    now = ratios.over(asked, since=scope.since, until=scope.until, now=scope.now)
    before = ratios.over(asked, since=scope.before, until=scope.since, now=scope.now)
    lines = [
        figure(
            one.name,
            now.get(one),
            before.get(one),
            words=sections.share,
            better="lower" if one.upward else "higher",
            note=f"{one.metric} of {one.denominator}",
        )
        for one in asked
    ]
    return Section("Error rates", lines[:LISTED], more=max(len(lines) - LISTED, 0))


@sections.register("limits", rank=70)
def limits(scope: Scope) -> Section | None:
    """What is expected of capacities and budgets, as the last look found it."""
    rows = list(scope.rows(Capacity.objects.active()))
    if not rows:
        return None
    order = ("over", "at_risk", "unknown", "within")
    rows.sort(key=lambda one: (order.index(one.state), one.name))
    items = [
        Item(one.name, one.state, one.reason or "not looked at yet", reverse("capacity", args=[one.key]))
        for one in rows[:LISTED]
    ]
    return Section("Forecast", items=items, more=max(len(rows) - LISTED, 0))


@sections.register("scaling", rank=80)
def scaling(scope: Scope) -> Section | None:
    rows = scope.rows(ScalingDecision.objects.exclude(way=ScalingDecision.Way.NONE))
    within = rows.filter(made_at__gte=scope.since, made_at__lt=scope.until)
    before = rows.filter(made_at__gte=scope.before, made_at__lt=scope.since).count()
    if not within.exists() and not before:
        return None
    items = [
        Item(
            f"{one.service}: {one.before} → {one.wanted} instances",
            one.status,
            f"{_when(one.made_at, scope)}: {one.reason}",
            reverse("scaling"),
        )
        for one in within.select_related("service")[:LISTED]
    ]
    total = within.count()
    lines = [figure("Decided", total, before, words=sections.count)]
    return Section("Scaling", lines, items, max(total - LISTED, 0), "Nothing was to be done.")


@sections.register("recommendations", rank=90)
def recommendations(scope: Scope) -> Section | None:
    rows = scope.rows(Recommendation.objects.all())
    pending = scope.rows(Recommendation.objects.pending())
    saved = rows.filter(status=Recommendation.Status.APPLIED, saved__isnull=False)
    if not pending.exists() and not saved.exists():
        return None
    totals: dict[str, float] = {}
    for unit, value in saved.values_list("unit", "saved"):
        totals[unit] = totals.get(unit, 0.0) + (value or 0.0)
    lines = [Figure("Saved, measured", f"{value:,.0f} {unit} in 30 days") for unit, value in sorted(totals.items())]
    items = [
        Item(
            one.title,
            one.status,
            f"about {one.expected:,.0f} {one.unit} in 30 days" if one.expected else one.advice,
            reverse("recommendations"),
        )
        for one in pending.order_by("-expected", "-id")[:LISTED]
    ]
    return Section("Recommendations", lines, items, max(pending.count() - LISTED, 0))


def _when(at: datetime, scope: Scope) -> str:
    return f"{at.astimezone(scope.zone):%d %b %H:%M}"
