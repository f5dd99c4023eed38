"""Flags and segments with their past: every revision that a month of edits and deployments would have left."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from portal import versions
from portal.audit import Actor
from portal.demo import scene
from portal.management.demo.past_places import STAGING, World
from portal.management.demo.story import build_of
from portal.models import Environment
from rollouts.engine import documents
from rollouts.engine.compile import default_off_variant
from rollouts.models import Flag, FlagConfig, FlagRevision, Segment

BUILD = [{"key": "blue", "value": "blue"}, {"key": "green", "value": "green"}]
SWITCH = [{"key": "on", "value": True}, {"key": "off", "value": False}]
CONFIG_FIELDS = ("enabled", "off_variant", "rules", "fallthrough", "overrides", "prerequisites", "window", "reserved")


@dataclass(slots=True)
class Past:
    """One flag in one environment, revision by revision."""

    flag: Flag
    environment: Environment
    config: FlagConfig = field(init=False)
    revisions: list[FlagRevision] = field(default_factory=list)
    last_at: datetime | None = None

    def __post_init__(self) -> None:
        off = default_off_variant(self.flag.variants)
        self.config = FlagConfig(
            flag=self.flag, environment=self.environment, off_variant=off, fallthrough={"variant": off}
        )

    def edit(self, world: World, given: Mapping[str, Any], *, at: datetime, by: Actor, because: str) -> None:
        """As somebody would have written it by hand."""
        read = documents.read_config(
            given,
            self.config.document(),
            variants=self.flag.variant_keys(),
            now=at.timestamp(),
            flag_type=self.flag.type,
        )
        assert not read.faults, read.faults
        self._write(world, read.document, self.config.reserved, "flag.configured", at=at, by=by, because=because)

    def serve(self, world: World, rule: dict[str, Any], *, at: datetime, by: Actor, because: str) -> None:
        """A deployment gives its variant to a share."""
        self._write(world, self.config.document(), [rule], "flag.served", at=at, by=by, because=because)

    def release(self, world: World, variant: str | None, *, at: datetime, by: Actor, because: str) -> None:
        """A deployment lets go: its variant becomes everybody's, or nobody's."""
        document = self.config.document()
        if variant is not None:
            document["fallthrough"] = {"variant": variant}
        self._write(world, document, [], "flag.released", at=at, by=by, because=because)

    def _write(
        self,
        world: World,
        document: Mapping[str, Any],
        reserved: list[dict[str, Any]],
        verb: str,
        *,
        at: datetime,
        by: Actor,
        because: str,
    ) -> None:
        number = self.config.revision
        before = {name: getattr(self.config, name) for name in CONFIG_FIELDS} if number else {}
        after = {**document, "reserved": reserved}
        changed = {name: [before.get(name), value] for name, value in after.items() if before.get(name) != value}
        for name, value in after.items():
            setattr(self.config, name, value)
        self.config.revision = number + 1
        self.last_at = at
        self.revisions.append(_revision(self.flag, self.environment, number + 1, after, changed, at, by, because))
        where = {"environment": self.environment.key, "revision": number + 1}
        told = documents.show_difference(changed)
        world.chronicle.tell(
            verb,
            self.flag,
            at=at,
            by=by,
            before={**where, "revision": number} | {name: one[0] for name, one in told.items()},
            after=where | {name: one[1] for name, one in told.items()},
            because=because,
        )


Pasts = dict[tuple[str, str], Past]


def build(world: World) -> Pasts:
    """The flags and their configs as they were made by hand; deployments go on from here."""
    _segments(world)
    pasts: Pasts = {}
    for service in world.services:
        flag = _flag(
            world,
            build_of(service),
            type="percentage",
            value_type="string",
            variants=BUILD,
            service=world.services[service],
            risk="high",
            owner=f"{service} team",
            description="Which of the two builds serves a user. Deployments turn it; nobody does by hand.",
        )
        for environment in (STAGING, scene.ENVIRONMENT):
            past = pasts[flag.key, environment] = Past(flag, world.environments[environment])
            start = {"enabled": True, "off_variant": "blue", "fallthrough": {"variant": "blue"}}
            at = world.began + timedelta(hours=2)
            past.edit(world, start, at=at, by=world.by("olga"), because="both builds are up; blue serves everybody")
    for one in _by_hand(world):
        pasts |= one
    return pasts


def save(world: World, pasts: Pasts) -> None:
    """Write what has been gathered, and tell every process that it is there."""
    rows = [past.config for past in pasts.values()]
    FlagConfig.objects.bulk_create(rows)
    revisions = [revision for past in pasts.values() for revision in past.revisions]
    FlagRevision.objects.bulk_create(sorted(revisions, key=lambda revision: revision.at), batch_size=500)
    for past in pasts.values():
        FlagConfig.objects.filter(pk=past.config.pk).update(updated_at=past.last_at)
    version = versions.bump("flags")
    for model in (Flag, FlagConfig, Segment):
        model._default_manager.update(changed_in=version)


def _by_hand(world: World) -> list[Pasts]:
    dana, sam, olga = world.by("dana"), world.by("sam"), world.by("olga")
    checkout, payments, search = (world.services[key] for key in ("checkout", "payments", "search"))
    production = world.environments[scene.ENVIRONMENT]
    staging = world.environments[STAGING]
    made: list[Pasts] = []

    def config(flag: Flag, place: Environment, *steps: tuple[float, dict[str, Any], Actor, str]) -> None:
        past = Past(flag, place)
        for days, given, by, because in steps:
            past.edit(world, given, at=world.now - timedelta(days=days), by=by, because=because)
        made.append({(flag.key, place.key): past})

    on_for = {"enabled": True, "off_variant": "off"}
    flag = _flag(
        world, "new-address-form", type="percentage", variants=SWITCH, service=checkout, owner="checkout team",
        description="The address form with suggestions.",
    )  # fmt: skip
    config(flag, staging, (28, {**on_for, "fallthrough": {"variant": "on"}}, dana, "for the testers"))
    config(
        flag,
        production,
        (21.3, {**on_for, "fallthrough": {"variant": "on", "rollout": 10}}, dana, "first tenth"),
        (14.2, {"fallthrough": {"variant": "on", "rollout": 25}}, dana, "fewer typing mistakes than before"),
        (6.1, {"fallthrough": {"variant": "on", "rollout": 40}}, dana, "support has no complaints"),
    )
    flag = _flag(
        world, "gift-wrap", type="user_group", variants=SWITCH, service=checkout, purpose="permission",
        owner="shop team", description="Gift wrapping, for those who come often.",
    )  # fmt: skip
    config(
        flag,
        production,
        (
            18.4,
            {**on_for, "rules": [{"id": "loyal", "segments": ["loyal-customers"], "serve": {"variant": "on"}}]},
            olga,
            "the warehouse can wrap a few hundred a day",
        ),
    )
    flag = _flag(
        world, "pay-with-blik", type="user_group", variants=SWITCH, service=payments, owner="payments team",
        risk="medium", description="BLIK beside cards, in Poland.",
    )  # fmt: skip
    poland = {"id": "poland", "segments": ["poland"], "serve": {"variant": "on"}}
    config(flag, staging, (24, {**on_for, "fallthrough": {"variant": "on"}}, dana, "contract tests run against it"))
    config(flag, production, (11.2, {**on_for, "rules": [poland]}, dana, "BLIK goes live in Poland"))
    variants: list[dict[str, Any]] = [{"key": "plain", "value": "Checkout"}, {"key": "warm", "value": "Nearly there!"}]
    flag = _flag(
        world, "checkout-headline", type="ab_test", value_type="string", variants=variants, service=checkout,
        purpose="experiment", owner="shop team", description="Does a warmer headline keep people going?",
    )  # fmt: skip
    halves = {"split": {"plain": 50, "warm": 50}}
    config(
        flag,
        production,
        (9.3, {"enabled": True, "off_variant": "plain", "fallthrough": halves}, olga, "two weeks, half and half"),
    )
    variants = [{"key": "normal", "value": 3}, {"key": "patient", "value": 5}]
    flag = _flag(
        world, "gateway-attempts", type="boolean", value_type="int", variants=variants, service=payments, purpose="ops",
        owner="payments team", risk="high", description="How often a request to the bank gateway is tried.",
    )  # fmt: skip
    normal = {"enabled": True, "off_variant": "normal", "fallthrough": {"variant": "normal"}}
    config(
        flag,
        production,
        (30, normal, olga, "three is enough on a good day"),
        (15.2, {"fallthrough": {"variant": "patient"}}, sam, "the gateway is slow after its maintenance"),
        (14.9, {"fallthrough": {"variant": "normal"}}, sam, "the gateway is well again"),
    )
    flag = _flag(
        world, "search-suggestions", type="boolean", variants=SWITCH, service=search, purpose="ops",
        owner="search team", description="Suggestions while typing; off when the index is rebuilt.",
    )  # fmt: skip
    config(
        flag,
        production,
        (26, {**on_for, "fallthrough": {"variant": "on"}}, olga, "suggestions for everybody"),
        (4.35, {"enabled": False}, sam, "the index is being rebuilt"),
        (4.3, {"enabled": True}, sam, "the index is back"),
    )
    flag = _flag(
        world, "winter-sale-banner", type="time_based", variants=SWITCH, service=checkout, purpose="ops",
        owner="shop team", description="The banner of the sale, on time without anybody awake.",
    )  # fmt: skip
    opens = (world.now + timedelta(days=12)).replace(hour=7, minute=0, second=0, microsecond=0)
    window = {"from": opens.isoformat(), "until": (opens + timedelta(days=4)).isoformat()}
    config(
        flag,
        production,
        (3.2, {**on_for, "window": window, "fallthrough": {"variant": "on"}}, dana, "the dates are settled"),
    )
    return made


def _flag(world: World, key: str, *, type: str, variants: Sequence[Mapping[str, Any]], **fields: Any) -> Flag:  # noqa: A002
    """The definition, made forty days ago."""
    at, by = world.began + timedelta(hours=1), world.by("olga")
    flag = Flag(key=key, type=type, variants=list(variants), revision=1, created_at=at, **fields)
    if key == scene.FLAG:
        flag.salt = scene.SALT
    flag.save(force_insert=True)
    Flag.objects.filter(pk=flag.pk).update(updated_at=at)
    after = flag.definition()
    changed = {name: [None, value] for name, value in after.items() if value is not None}
    _revision(flag, None, 1, after, changed, at, by, "").save(force_insert=True)
    new = {name: one[1] for name, one in changed.items()}
    world.chronicle.tell("flag.created", flag, at=at, by=by, after=new)
    return flag


def _revision(
    flag: Flag,
    environment: Environment | None,
    number: int,
    document: Mapping[str, Any],
    diff: Mapping[str, Any],
    at: datetime,
    by: Actor,
    because: str,
) -> FlagRevision:
    return FlagRevision(
        flag=flag,
        environment=environment,
        number=number,
        document=document,
        diff=diff,
        actor=str(by)[:200],
        because=because,
        at=at,
    )


def _segments(world: World) -> None:
    at, by = world.began + timedelta(minutes=40), world.by("olga")
    rows = (
        Segment(
            key="loyal-customers",
            name="Loyal customers",
            description="Gold and platinum.",
            conditions=[{"attr": "tier", "op": "in", "values": ["gold", "platinum"]}],
        ),
        Segment(
            key="poland",
            name="Poland",
            description="Delivered to Poland.",
            conditions=[{"attr": "country", "op": "equals", "values": ["PL"]}],
        ),
        Segment(
            key="testers",
            name="Testers",
            description="Our own people, who see things first.",
            included=["customer-001", "customer-002", "customer-003"],
        ),
    )
    for segment in rows:
        segment.revision, segment.created_at = 1, at
        segment.save(force_insert=True)
        world.chronicle.tell("segment.created", segment, at=at, by=by, after=segment.document())
    Segment.objects.update(updated_at=at)
