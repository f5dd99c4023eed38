"""Loading the demo, all of it or nothing: people and places, a month behind them, and what goes on now."""

import time
from dataclasses import dataclass
from pathlib import Path

from django.db import connection, transaction

from portal import audit, jobs
from portal.audit import Automaton
from portal.demo import scene
from portal.errors import Refused
from portal.management.demo import (
    cast,
    key_file,
    past_errors,
    past_feedback,
    past_flags,
    past_incidents,
    past_machines,
    past_places,
    past_runs,
    past_traffic,
    present,
    public_page,
    story,
)
from portal.models import Environment, Seat, Service, User
from rollouts.models import Flag

# Any number that nobody else locks: two that load at once do it once.
LOCK = 0x0F1A_6501


@dataclass(frozen=True, slots=True)
class Loaded:
    """What was made; nothing where the demo was loaded before."""

    deployments: int = 0
    samples: int = 0
    entries: int = 0
    feedback: int = 0
    seconds: float = 0.0


def load(data_dir: Path) -> Loaded:
    """Refused where somebody has begun to work: the demo would stand between what is theirs."""
    began = time.monotonic()
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        if Seat.objects.exists():
            key_file.ensure(data_dir)
            return Loaded()
        _refuse_if_used()
        found = _load()
    # Only now is it sure that the keys will be there.
    key_file.ensure(data_dir)
    return Loaded(*found, seconds=time.monotonic() - began)


def _load() -> tuple[int, int, int, int]:
    now = jobs.database_now()
    told = story.runs(now)
    world = past_places.build(now)
    flags = past_flags.build(world)
    lines = past_traffic.draw(now, told)
    samples = past_traffic.write(world, lines)
    past_machines.write(world)
    pasts = past_runs.write_rows(world, told, past_runs.write_plans(world))
    definition = past_incidents.define(world)
    past_incidents.write(world, pasts, definition, lines)
    past_runs.tell(world, pasts, flags, lines)
    past_flags.save(world, flags)
    failed = past_errors.write(world, told)
    feedback = past_feedback.write(world, told)
    entries = world.chronicle.write()
    audit.record(
        "demo.loaded",
        world.services[scene.SERVICE],
        by=Automaton(cast.AUTOMATON),
        after={
            "deployments": len(pasts),
            "samples": samples,
            "audit_entries": entries,
            "feedback": feedback,
            "errors": failed,
        },
        because=f"the month before this line is made up; its lines carry the request id {cast.MARK}",
    )
    public_page.write(world, pasts)
    present.begin(world, told, definition)
    present.report(world)
    return len(pasts), samples, entries, feedback


def _refuse_if_used() -> None:
    for model in (Service, Environment, Flag):
        row = model._default_manager.order_by("pk").first()
        if row is not None:
            noun = model._meta.verbose_name
            raise Refused(
                f"the demo wants an empty portal, and there is the {noun} {row}: "
                "give it a data directory (or a database) of its own"
            )
    taken = User.objects.filter(username__in=[part.username for part in cast.CAST]).first()
    if taken is not None:
        raise Refused(f"the demo wants to bring a {taken.username} of its own, and there is one already")
