"""What the shop's customers read at /status/: its components, the month's two outages, and maintenance to come."""

from collections.abc import Sequence
from datetime import timedelta

from monitoring.actions import statuspage
from monitoring.models import StatusComponent, StatusIncident, StatusUpdate
from portal import jobs
from portal.demo import scene
from portal.management.demo.past_places import World
from portal.management.demo.past_runs import Past
from portal.management.demo.story import Ending

COMPONENTS = {
    "checkout": ("Checkout", "Basket, address and order"),
    "payments": ("Payments", "Cards, transfers and refunds"),
    "search": ("Search", "Finding articles"),
}
TOLD = (
    ("investigating", timedelta(minutes=4), "Some orders fail at the last step. We look into it."),
    ("identified", timedelta(minutes=20), "Since the previous version is back, orders go through. We watch on."),
    ("resolved", timedelta(minutes=41), "All is well again. Orders that failed were not charged."),
)


def write(world: World, pasts: Sequence[Past]) -> None:
    """The components by the same action as anybody's click; what was told in the past as it would have been written."""
    olga = world.by("olga")
    components = {
        service: statuspage.create_component(
            {
                "name": name,
                "description": description,
                "position": position,
                "service": world.services[service],
                "environment": world.environments[scene.ENVIRONMENT],
                "auto_publish": service == scene.SERVICE,
            },
            by=olga,
        )
        for position, (service, (name, description)) in enumerate(COMPONENTS.items())
    }
    for past in pasts:
        if past.run.ending == Ending.ROLLED_BACK and past.run.environment == scene.ENVIRONMENT:
            _outage(past, components[past.run.service])
    begin = jobs.database_now().replace(hour=2, minute=0, second=0, microsecond=0) + timedelta(days=3)
    statuspage.publish(
        "The database of payments moves to a larger machine",
        "For some minutes of this hour cards may be declined. Trying again a minute later helps.",
        by=olga,
        kind=StatusIncident.Kind.MAINTENANCE,
        impact=StatusIncident.Impact.NONE,
        components=[components["payments"]],
        scheduled_for=begin,
        scheduled_until=begin + timedelta(hours=1),
    )


def _outage(past: Past, component: StatusComponent) -> None:
    at = past.run.ended_at
    told = StatusIncident.objects.create(
        name=f"{component.name} is disturbed",
        impact=StatusIncident.Impact.MAJOR,
        status=StatusIncident.Status.RESOLVED,
        started_at=at,
        updated_at=at + TOLD[-1][1],
        resolved_at=at + TOLD[-1][1],
    )
    told.components.set([component])
    StatusUpdate.objects.bulk_create(
        StatusUpdate(incident=told, status=status, body=body, at=at + after) for status, after, body in TOLD
    )
