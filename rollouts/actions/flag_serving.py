"""What deployments do to flags: the one way by which a release reaches its users, and is taken back from them."""

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from portal import permissions
from portal.audit import Actor
from portal.errors import Invalid, Refused
from portal.models import Environment
from rollouts.actions import flag_writes, references
from rollouts.engine import reading
from rollouts.engine.conditions import segments_in
from rollouts.engine.documents import DEPLOYMENT_RULE
from rollouts.engine.types import FULL
from rollouts.models import Flag, FlagConfig


def serve(
    flag: Flag,
    environment: Environment,
    *,
    deployment: int | str,
    variant: str,
    baseline: str,
    weight: int,
    by: Actor,
    because: str,
    audience: Any = None,
) -> bool:
    """The variant to `weight` (0…100 000) of the audience, the baseline to everyone else.

    Hashed without a rule's id, so that each stage keeps the users of the last. At 0 never refused: nobody gets the
    variant, whatever else is the case. False when it is like that already.
    """
    if type(weight) is not int or not 0 <= weight <= FULL:
        raise Invalid.of("weight", f"must be a whole number from 0 to {FULL}")
    meant = read_audience(audience)
    if weight:
        permissions.require(by, "operate", environment=environment, service=flag.service)
    rule = {
        "id": f"{DEPLOYMENT_RULE}{deployment}",
        "deployment": deployment,
        "live": True,
        **meant,
        "serve": {"variant": variant, "rollout": weight},
        "baseline": baseline,
    }
    with transaction.atomic():
        flag_writes.stand_in_line()
        flag_writes.current(flag)
        config = flag_writes.config_of(flag, environment)
        own = _own(config, deployment)
        document = config.document()
        if weight:
            _refuse_to_serve(config, own, rule)
            if config.is_new:
                document |= {"enabled": True, "fallthrough": {"variant": baseline}}
        elif own is None:
            return False
        elif own.get("killed"):
            rule["killed"] = True
        reserved = [one for one in config.reserved if one is not own]
        return flag_writes.write_config(config, document, [*reserved, rule], verb="flag.served", by=by, because=because)


def release(
    flag: Flag, environment: Environment, *, deployment: int | str, by: Actor, because: str, promote: bool = False
) -> bool:
    """The deployment lets go: its variant becomes everyone's (promote), or nobody's. False when it has already."""
    if promote:
        permissions.require(by, "operate", environment=environment, service=flag.service)
    with transaction.atomic():
        flag_writes.stand_in_line()
        flag_writes.current(flag)
        config = flag_writes.config_of(flag, environment)
        own = _own(config, deployment)
        if own is None:
            return False
        document = config.document()
        if promote:
            document["fallthrough"] = {"variant": own["serve"]["variant"]}
        reserved = [one for one in config.reserved if one is not own]
        return flag_writes.write_config(config, document, reserved, verb="flag.released", by=by, because=because)


def leave(flag: Flag, environment: Environment, *, deployment: int | str, by: Actor, because: str) -> bool:
    """The deployment is over and its share stays as it is: its rule becomes the first of those made by hand."""
    with transaction.atomic():
        flag_writes.stand_in_line()
        flag_writes.current(flag)
        config = flag_writes.config_of(flag, environment)
        own = _own(config, deployment)
        if own is None:
            return False
        left = {name: own[name] for name in ("id", "deployment", "all", "segments", "serve") if name in own}
        document = config.document()
        document["rules"] = [left, *(rule for rule in config.rules if rule["id"] != left["id"])]
        reserved = [one for one in config.reserved if one is not own]
        return flag_writes.write_config(config, document, reserved, verb="flag.left", by=by, because=because)


def read_audience(audience: Any, path: str = "audience") -> dict[str, Any]:
    """Whom a stage means, as a rule says it: conditions, or an object of `all` and `segments`. Invalid names faults."""
    faults = reading.Faults()
    if not audience:
        return {"all": []}
    if isinstance(audience, Mapping) and "op" in audience:
        audience = [audience]
    if isinstance(audience, list):
        meant: dict[str, Any] = {"all": reading.conditions(audience, path, faults)}
    else:
        given = reading.an_object(audience, path, faults, fields=("all", "segments"))
        meant = {"all": reading.conditions(given.get("all", []), f"{path}.all", faults)}
        segments = reading.keys(given.get("segments", []), f"{path}.segments", faults, most=50)
        if segments:
            meant["segments"] = segments
    if faults:
        raise Invalid(faults)
    return meant


def _own(config: FlagConfig, deployment: int | str) -> dict[str, Any] | None:
    return next((rule for rule in config.reserved if str(rule["deployment"]) == str(deployment)), None)


def _refuse_to_serve(config: FlagConfig, own: dict[str, Any] | None, rule: Mapping[str, Any]) -> None:
    """Everything that keeps a weight above 0 from being what the users would get."""
    flag, baseline, variant = config.flag, rule["baseline"], rule["serve"]["variant"]
    place = f"in {config.environment}"
    if flag.archived_at is not None:
        raise Refused(f"flag {flag} is archived")
    other = next((one for one in config.reserved if one is not own), None)
    if other is not None:
        raise Refused(f"flag {flag} is served by deployment {other['deployment']} {place}")
    for name in (variant, baseline):
        if name not in flag.variant_keys():
            raise Refused(f"flag {flag} has no variant {name}")
    missing = references.missing_segments([*rule.get("segments", ()), *segments_in(rule["all"])])
    if missing:
        raise Refused(f"there is no segment {min(missing)}, whom flag {flag} is to be served to")
    if config.is_new:
        return
    if not config.enabled:
        raise Refused(f"flag {flag} is switched off {place}: switch it on first")
    if own is not None and own.get("killed") and rule["serve"]["rollout"] > own["serve"]["rollout"]:
        raise Refused(f"flag {flag} was switched off {place} while it was served: no further until somebody resumes")
    shared = config.fallthrough.get("rollout", FULL) != FULL or "schedule" in config.fallthrough
    if config.fallthrough.get("variant") != baseline or shared:
        raise Refused(f"flag {flag} does not give everyone its baseline {baseline} {place}: set its fallthrough first")
