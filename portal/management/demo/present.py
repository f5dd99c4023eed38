"""What goes on when the portal is first opened: a canary at 5 %, a run that waits for an approval, an open incident."""

import math

from django.conf import settings

from monitoring.actions import (
    capacities,
    channels,
    definitions,
    incidents,
    judging,
    recommendations,
    report_subscriptions,
    reports,
    scaling,
    scaling_policies,
    thresholds,
    unit_costs,
)
from monitoring.models import IncidentDefinition
from portal.audit import Actor
from portal.demo import scene
from portal.management.demo import plan_book
from portal.management.demo.past_places import STAGING, World
from portal.management.demo.past_runs import commit_of
from portal.management.demo.story import Run, build_of, serving_now
from rollouts.actions import deployments, plans, releases
from rollouts.models import Deployment, Plan

THRESHOLDS = (
    {
        "name": "checkout answers slowly",
        "metric": scene.LATENCY,
        "matchers": {"service": "checkout", "environment": scene.ENVIRONMENT},
        "aggregation": "p95",
        "operator": ">",
        "warning": 0.5,
        "window": 120,
        "min_count": 100,
    },
    {
        "name": "payments fail",
        "metric": scene.ERRORS,
        "denominator": scene.REQUESTS,
        "matchers": {"service": "payments", "environment": scene.ENVIRONMENT},
        "operator": ">",
        "warning": 0.02,
        "error": 0.05,
        "critical": 0.2,
        "window": 120,
        "min_count": 200,
    },
    {
        "name": "search answers slowly",
        "metric": scene.LATENCY,
        "matchers": {"service": "search", "environment": scene.ENVIRONMENT},
        "aggregation": "p95",
        "operator": ">",
        "warning": 0.3,
        "error": 1.0,
        "window": 120,
        "min_count": 100,
    },
)


def begin(world: World, story: list[Run], definition: IncidentDefinition) -> Deployment:
    """By the same actions as anybody's click. The canary that is on its way."""
    olga, sam = world.by("olga"), world.by("sam")
    _tell_by_mail(definition, by=olga)
    for spec in THRESHOLDS:
        thresholds.create(spec, by=olga)
    for build in scene.BUILDS:
        plans.write(scene.PLANS[build], plan_book.canary(build, quick=True), by=olga)
    plans.write("with-approval", plan_book.with_approval(), by=olga)
    incidents.open_by_hand(
        "The index of the staging shop lags behind",
        by=sam,
        severity="SEV4",
        service=world.services["search"],
        environment=world.environments[STAGING],
        description="New articles are found only after ten minutes. Nobody outside sees it.",
    )
    _start(world, story, "payments", "3.10.0", "with-approval", "Card data goes through the second processor.", "high")
    _advise(world)
    live = scene.other(serving_now(story, scene.SERVICE, scene.ENVIRONMENT))
    notes = "The address form again: it waits until typing stops, and tries anew when the address service is busy."
    return _start(world, story, scene.SERVICE, scene.FIRST_LIVE_VERSION, scene.PLANS[live], notes, "medium")


def _advise(world: World) -> None:
    """What is looked at beforehand: a disk that fills, a month's cost, and machines that have little to do."""
    olga = world.by("olga")
    place = {"service": scene.SERVICE, "environment": scene.ENVIRONMENT}
    room = math.ceil((scene.disk(world.now) + 45 * scene.DISK_A_DAY) / 0.9 / 10) * 10.0
    disk = {"name": "the checkout's disk", "metric": scene.DISK, "aggregation": "max", "limit": room, "horizon": 60}
    capacities.create("checkout-disk", {**disk, "matchers": place}, by=olga)
    cost = {"name": "the checkout's machines", "kind": "budget", "metric": scene.COST, "limit": 300.0}
    capacities.create("checkout-machines", {**cost, "matchers": place}, by=olga)
    policy = {"name": "checkout by CPU", "metric": scene.CPU, "target": 60.0, "instances_metric": scene.INSTANCES}
    scaling_policies.create("checkout", {**policy, **place, "minimum": 2, "maximum": 12}, by=olga)
    service, environment = world.services[scene.SERVICE], world.environments[scene.ENVIRONMENT]
    unit_costs.put(service, environment, {"instance_price": scene.MACHINE_PRICE, "currency": "EUR"}, by=olga)


def report(world: World) -> None:
    """What the sweeps would find first, and the last week for those who look after it: pages, for nobody has mail."""
    judging.run()
    capacities.keep()
    scaling.run()
    recommendations.look()
    for username in (scene.CAPTAIN, "olga"):
        person = world.people[username]
        wanted = report_subscriptions.create(person, {"period": "weekly", "by_mail": False}, by=person)
        reports.make_now(wanted, by=person)


def _tell_by_mail(definition: IncidentDefinition, *, by: Actor) -> None:
    """To an address that nobody has: caught in a file, and off where a mail server would carry it away."""
    channel = channels.create(
        {
            "name": "checkout on call",
            "kind": "email",
            "config": {"to": "checkout-on-call@example.com", "digest": True},
            "active": not settings.EMAIL_HOST,
        },
        by=by,
    )
    definitions.change(definition, {"channels": [channel]}, by=by)


def _start(world: World, story: list[Run], service: str, version: str, plan: str, notes: str, risk: str) -> Deployment:
    dana = world.by(scene.CAPTAIN)
    release = releases.create(
        world.services[service],
        version,
        by=dana,
        commit=commit_of(service, version),
        risk=risk,
        notes=notes,
        captain=scene.CAPTAIN,
    )
    baseline = serving_now(story, service, scene.ENVIRONMENT)
    serves = [{"flag": build_of(service), "variant": scene.other(baseline), "baseline": baseline}]
    newest = Plan.objects.get(name=plan, current=True)
    deployment = deployments.create(release, world.environments[scene.ENVIRONMENT], newest, serves, by=dana)
    deployments.start(deployment, by=dana, because="the month's plan")
    return deployment
