"""How one write of a flag is done: in line, kept as a revision, audited, told to every process."""

import json
from collections.abc import Mapping
from typing import Any

from django.db import connection, models

from portal import audit, live, versions
from portal.audit import Actor
from portal.errors import Invalid, Refused, Stale
from portal.models import Environment
from rollouts.engine import documents, legacy, rebucketing
from rollouts.engine.compile import default_off_variant
from rollouts.engine.revisions import alike, difference
from rollouts.models import ChangeRequest, Flag, FlagConfig, FlagRevision, Segment

# Any number that nobody else locks. Writes of flags and segments are rare and stand in one line: so what one of them
# has checked (no cycle, the segment is there, the variant exists) is still true when it commits.
LINE = 0x0F1A_6500
LARGEST_CONFIG = 64 * 1024  # bytes of JSON


def stand_in_line() -> None:
    """Wait, in the caller's transaction, until no other write of flags or segments is under way."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LINE])


def take(flag: Flag, *, archived: bool = False) -> None:
    """Nobody else writes from here to the end of the transaction, and `flag` is as it is now."""
    stand_in_line()
    current(flag)
    if flag.archived_at is not None and not archived:
        raise Refused(f"flag {flag} is archived")


def expect_revision(flag: Flag, what: str, revision: int, expected: int | None) -> None:
    if expected is not None and expected != revision:
        raise Stale(f"the {what} of flag {flag} is at revision {revision}, not {expected}: look at it again")


def current(thing: models.Model) -> None:
    """Take over the row as it is now; Refused when somebody has deleted it meanwhile."""
    try:
        thing.refresh_from_db()
    except type(thing).DoesNotExist:  # type: ignore[attr-defined]
        raise Refused(f"{thing._meta.verbose_name} {thing} is gone") from None


def config_of(flag: Flag, environment: Environment) -> FlagConfig:
    """The config, or an unsaved one that is off, as flags without config are served."""
    found = FlagConfig.objects.of(flag, environment)
    if found is not None:
        found.flag, found.environment = flag, environment
        return found
    off = default_off_variant(flag.variants)
    return FlagConfig(flag=flag, environment=environment, off_variant=off, fallthrough={"variant": off})


def write_config(
    config: FlagConfig,
    document: Mapping[str, Any],
    reserved: list[dict[str, Any]],
    *,
    verb: str,
    by: Actor,
    because: str,
    request: ChangeRequest | None = None,
) -> bool:
    """The config's next revision. False, and nothing written, when it is like that already."""
    before = {} if config.is_new else {**config.document(), "reserved": config.reserved}
    after = {**document, "reserved": reserved}
    if alike(before, after):
        return False
    if len(json.dumps(after)) > LARGEST_CONFIG:
        raise Invalid.of("", f"the config is larger than {LARGEST_CONFIG} bytes")
    for name, value in after.items():
        setattr(config, name, value)
    config.revision += 1
    config.save()
    _tag(config.flag)
    changed = difference(before, after)
    _keep(config.flag, config.environment, config.revision, after, changed, by=by, because=because, request=request)
    where = {"environment": config.environment.key, "revision": config.revision}
    told = documents.show_difference(changed)
    audit.record(
        verb,
        config.flag,
        by=by,
        before={**where, "revision": config.revision - 1} | {name: one[0] for name, one in told.items()},
        after=where | {name: one[1] for name, one in told.items()},
        because=because,
    )
    publish(config)
    return True


def _tag(flag: Flag) -> None:
    """Say on the flag whose bucketing it has: one system's, several, or the portal's own."""
    found = rebucketing.algorithms(*(config.document() for config in flag.configs.all()))
    algo = min(found) if len(found) == 1 else "several" if found else legacy.OWN
    if algo != flag.algo:
        flag.algo = algo
        Flag.objects.filter(pk=flag.pk).update(algo=algo)


def write_definition(
    flag: Flag,
    before: Mapping[str, Any],
    *,
    verb: str,
    by: Actor,
    because: str,
    request: ChangeRequest | None = None,
) -> None:
    """The next revision of a flag whose fields have been set."""
    flag.revision += 1
    flag.save()
    after = flag.definition()
    changed = difference(before, after)
    _keep(flag, None, flag.revision, after, changed, by=by, because=because, request=request)
    audit.record(
        verb,
        flag,
        by=by,
        before={name: old for name, (old, _) in changed.items()} if before else None,
        after={name: new for name, (_, new) in changed.items()},
        because=because,
    )
    publish(flag)


def publish(*rows: models.Model) -> None:
    """Last in the transaction: the version by which every process finds these rows; after commit, the word."""
    version = versions.bump("flags")
    for row in rows:
        row.changed_in = version  # type: ignore[attr-defined]
        type(row)._default_manager.filter(pk=row.pk).update(changed_in=version)
    flags = {row.flag_id if isinstance(row, FlagConfig) else row.pk for row in rows if not isinstance(row, Segment)}
    live.announce("flags", version=version, id=next(iter(flags), None))


def holder(config: FlagConfig) -> dict[str, Any] | None:
    """The rule of the live deployment that serves this flag here."""
    return next(iter(config.reserved), None)


def refuse_while_served(config: FlagConfig) -> None:
    rule = holder(config)
    if rule is not None:
        raise Refused(
            f"flag {config.flag} is served by deployment {rule['deployment']} "
            f"({rule['serve']['variant']} to {rule['serve']['rollout'] / 1000:g} %) in {config.environment}: "
            "roll it back or let it finish before you edit the flag; switching the flag off is always possible"
        )


def _keep(
    flag: Flag,
    environment: Environment | None,
    number: int,
    document: Mapping[str, Any],
    diff: Mapping[str, Any],
    *,
    by: Actor,
    because: str,
    request: ChangeRequest | None,
) -> None:
    FlagRevision.objects.create(
        flag=flag,
        environment=environment,
        number=number,
        document=document,
        diff=diff,
        actor=audit.describe(by)[:200],
        because=because,
        change_request=request,
    )
