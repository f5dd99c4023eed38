"""People, services and environments, as if they had been there for weeks."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.contrib.auth.hashers import make_password

from portal.audit import Actor
from portal.demo import scene
from portal.management.demo.cast import CAST, PASSWORD
from portal.management.demo.chronicle import Chronicle
from portal.models import Environment, Grant, Seat, Service, User

SERVICES = {
    "checkout": ("Checkout", "Cart, address, delivery, payment. The demo's live service."),
    "payments": ("Payments", "Cards, BLIK and refunds, with the bank gateways behind it."),
    "search": ("Search", "Finds things by words, sizes and mistypings."),
}
STAGING = "staging"


@dataclass(frozen=True, slots=True)
class World:
    """What all of the demo's parts refer to."""

    now: datetime
    people: dict[str, User]
    services: dict[str, Service]
    environments: dict[str, Environment]
    chronicle: Chronicle

    @property
    def began(self) -> datetime:
        return self.now - timedelta(days=40)

    def by(self, username: str) -> Actor:
        return self.people[username]


def build(now: datetime) -> World:
    world = World(now, _people(now), {}, {}, Chronicle())
    owner = world.by("olga")
    for place, (key, (name, description)) in enumerate(SERVICES.items()):
        at = world.began + timedelta(minutes=place)
        service = Service.objects.create(key=key, name=name, description=description, created_at=at)
        after = {"key": key, "name": name, "description": description}
        world.chronicle.tell("service.created", service, at=at, by=owner, after=after)
        world.services[key] = service
    for place, (key, name, rank) in enumerate(((STAGING, "Staging", 10), (scene.ENVIRONMENT, "Production", 20))):
        at = world.began + timedelta(minutes=10 + place)
        fields = {"name": name, "rank": rank, "protected": False, "approval_policy": "not_required"}
        environment = Environment.objects.create(key=key, created_at=at, **fields)
        world.chronicle.tell("environment.created", environment, at=at, by=owner, after={"key": key, **fields})
        world.environments[key] = environment
    return world


def _people(now: datetime) -> dict[str, User]:
    password = make_password(PASSWORD)
    found = {}
    for rank, part in enumerate(CAST):
        user = User.objects.create(
            username=part.username,
            first_name=part.first_name,
            last_name=part.last_name,
            email=f"{part.username}@example.com",
            password=password,
            is_staff=True,
            date_joined=now - timedelta(days=41),
        )
        Grant.objects.bulk_create(Grant(user=user, role=role) for role in part.grants)
        Seat.objects.create(user=user, rank=rank, role=part.role, may=part.may)
        found[part.username] = user
    return found
