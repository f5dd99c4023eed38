"""What a page asks of the database does not depend on how much there is."""

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from monitoring.actions import error_groups, errors, incidents, report_subscriptions, reports
from monitoring.models import Capacity, ErrorGroup, MetricSource, PostMortem, Report, Slo, Threshold
from portal.models import Environment, User
from rollouts.actions import runs
from rollouts.models import Segment
from tests import make
from tests.make import BY
from tests.pages import seats
from tests.pages.world import World, world

pytestmark = pytest.mark.django_db

# Session and person, grants, then the page's own; a page that needs more has to say so here.
MOST = {
    "home": 20,
    "home-part running": 10,
    "home-part needs": 13,
    "home-part gaps": 14,
    "home-part incidents": 4,
    "home-part feedback": 4,
    "banner": 5,
    "deployments": 16,
    "deployment": 18,
    "deployment-part state": 10,
    "deployment-part evidence": 13,
    "deployment-part timeline": 11,
    "deployment-frame": 13,
    "change-requests": 11,
    "change-request": 12,
    "change-request-impact": 20,
    "flags": 16,
    "flag": 20,
    "flag-why": 20,
    "flag-use-frame": 8,
    "playground": 14,
    "flag-edit": 12,
    "flag-definition": 8,
    "flag-new": 7,
    "segments": 8,
    "segment": 15,
    "segment-edit": 11,
    "imports": 7,
    "release": 15,
    "incidents": 10,
    "on-call": 12,
    "my-notifications": 10,
    "incident-figures": 12,
    "post-mortem": 11,
    "action-items": 9,
    "incident": 14,
    "incident-part state": 10,
    "incident-part timeline": 5,
    "alerts": 10,
    "errors": 12,
    "error": 13,
    "thresholds": 24,
    "threshold": 24,
    "threshold-new": 7,
    "silences": 11,
    "slos": 12,
    "browsers": 14,
    "browsers-connect": 8,
    "browsers-of": 20,
    "library": 12,
    "slo": 18,
    "advice": 16,
    "advice-metric": 16,
    "capacities": 12,
    "capacity": 18,
    "scaling": 12,
    "recommendations": 12,
    "reports": 14,
    "report": 9,
    "channels": 9,
    "dead-letters": 8,
    "sources": 9,
    "watchdogs": 8,
    "explore": 8,
    "explore-metric": 13,
    "services": 20,
    "service": 22,
    "source": 7,
    "source-state": 5,
    "source-frame": 7,
}


def _addresses(made: World) -> dict[str, str]:
    deployment, incident = made.deployments[0].pk, made.incidents[0].pk
    source = MetricSource.objects.order_by("pk")[0].pk
    segment = Segment.objects.order_by("pk")[0].key
    latency = Threshold.objects.filter(name__startswith="latency of").order_by("pk")[0]
    return {
        "home": reverse("home"),
        **{
            f"home-part {part}": reverse("home-part", args=[part])
            for part in ("running", "needs", "gaps", "incidents", "feedback")
        },
        "banner": reverse("banner"),
        "deployments": reverse("deployments") + "?show=all",
        "deployment": reverse("deployment", args=[deployment]),
        **{
            f"deployment-part {part}": reverse("deployment-part", args=[deployment, part])
            for part in ("state", "evidence", "timeline")
        },
        "deployment-frame": reverse("deployment-frame", args=[deployment]),
        "change-requests": reverse("change-requests") + "?show=all",
        "change-request": reverse("change-request", args=[made.requests[0].pk]),
        "change-request-impact": reverse("change-request-impact", args=[made.requests[0].pk]),
        "flags": reverse("flags"),
        "imports": reverse("imports"),
        "flag": reverse("flag", args=[made.flags[0].key]),
        "flag-why": reverse("flag-why", args=[made.flags[0].key]) + "?unit=unit-1&environment=staging",
        "flag-use-frame": reverse("flag-use-frame", args=[made.flags[0].key, made.environment.key]),
        "playground": reverse("playground") + "?environment=staging",
        "flag-edit": reverse("flag-edit", args=[made.flags[0].key, "production"]),
        "flag-definition": reverse("flag-definition", args=[made.flags[0].key]),
        "flag-new": reverse("flag-new") + "?type=ab_test",
        "segments": reverse("segments"),
        "segment": reverse("segment", args=[segment]),
        "segment-edit": reverse("segment-edit", args=[segment]),
        "release": reverse("release", args=[made.releases[0].pk]),
        "sources": reverse("sources"),
        "watchdogs": reverse("watchdogs"),
        "explore": reverse("explore"),
        "explore-metric": reverse("explore-metric", args=[latency.metric]) + "?by=service",
        "services": reverse("services"),
        "service": reverse("service", args=[f"watched-{latency.name[11:]}"]),
        **{name: reverse(name, args=[source]) for name in ("source", "source-state", "source-frame")},
        "incidents": reverse("incidents") + "?show=all",
        "on-call": reverse("on-call"),
        "alerts": reverse("alerts") + "?show=all",
        "errors": reverse("errors"),
        "error": reverse("error", args=[ErrorGroup.objects.order_by("pk")[0].pk]),
        "thresholds": reverse("thresholds"),
        "threshold": reverse("threshold", args=[latency.pk]),
        "threshold-new": reverse("threshold-new"),
        "silences": reverse("silences"),
        "slos": reverse("slos"),
        "browsers": reverse("browsers"),
        "browsers-connect": reverse("browsers-connect"),
        "browsers-of": reverse("browsers-of", args=["watched", made.environment.key]),
        "library": reverse("library") + f"?service=watched-{latency.name[11:]}&environment=staging",
        "slo": reverse("slo", args=[Slo.objects.order_by("pk")[0].key]),
        "advice": reverse("advice"),
        "advice-metric": reverse("advice-metric", args=[latency.metric]),
        "capacities": reverse("capacities"),
        "capacity": reverse("capacity", args=[Capacity.objects.order_by("pk")[0].key]),
        "scaling": reverse("scaling") + "?show=all",
        "recommendations": reverse("recommendations"),
        "reports": reverse("reports"),
        "report": reverse("report", args=[Report.objects.get(person__username="dana").pk]),
        "my-notifications": reverse("my-notifications"),
        "incident-figures": reverse("incident-figures"),
        "post-mortem": reverse("post-mortem", args=[PostMortem.objects.order_by("pk")[0].incident_id]),
        "action-items": reverse("action-items"),
        "incident": reverse("incident", args=[incident]),
        **{f"incident-part {part}": reverse("incident-part", args=[incident, part]) for part in ("state", "timeline")},
        "channels": reverse("channels"),
        "dead-letters": reverse("dead-letters"),
    }


def _costs(client: Client, made: World) -> dict[str, int]:
    costs = {}
    for name, address in _addresses(made).items():
        with CaptureQueriesContext(connection) as queries:
            assert client.get(address).status_code == 200, address
        costs[name] = len(queries)
    return costs


def _deepen(made: World, times: int) -> None:
    """More behind the one flag, deployment and incident that have pages of their own."""
    place = Environment.objects.get(key="production")
    for turn in range(times):
        document = {"enabled": True, "off_variant": "off", "fallthrough": {"variant": "off", "rollout": turn}}
        make.configure(made.flags[0], place, document)
        group = ErrorGroup.objects.select_related("service", "environment").order_by("pk")[0]
        told = {"type": group.type, "service": group.service.key, "environment": group.environment.key}
        known = group.occurrences.earliest("id").stack
        errors.record([{**told, "stack": known, "release": f"3.{turn}", "unit": f"u{turn}"}], by=BY)
        (error_groups.reopen if turn % 2 else error_groups.resolve)(group, by=BY)
        incidents.note(made.incidents[0], f"note {turn}", by=BY)
        runs.change(made.deployments[0], held_because=f"look {turn}")


def test_every_page_costs_the_same_for_two_rows_and_twelve() -> None:
    captain, made = seats.captain(), world(2)
    mine = report_subscriptions.create(User.objects.get(username="dana"), {}, by=BY)
    reports.make_now(mine, by=BY)
    _deepen(made, 2)
    few = _costs(captain, made)
    made.grow(12)
    _deepen(made, 10)
    many = _costs(captain, made)
    # An objective's window may end within a minute, or just with it: one look at the newest samples more or less.
    timed = {name: abs(cost - few[name]) for name, cost in many.items() if name == "slo"}
    assert timed["slo"] <= 1
    assert many | {"slo": 0} == few | {"slo": 0}
    assert {name: cost for name, cost in few.items() if cost > MOST[name]} == {}
