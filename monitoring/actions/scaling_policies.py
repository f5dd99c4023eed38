"""Making, changing and taking away how services are scaled."""

import re
from collections.abc import Mapping
from typing import Any

from django.db import transaction

from monitoring.actions import scaling, specs
from monitoring.models import Channel, ScalingDecision, ScalingPolicy
from portal import audit, jobs, live, permissions, states
from portal.audit import Actor
from portal.errors import Invalid, Refused, Stale
from portal.models import KEY_PATTERN, Environment, Service

NUMBERS = (
    "window", "minimum", "maximum", "up_step", "down_step", "up_cool_down", "down_cool_down", "lead", "interval",
)  # fmt: skip
FIELDS = (
    *("name", "service", "environment", "metric", "aggregation", "matchers", "target", "tolerance"),
    *NUMBERS,
    *("instances_metric", "instances", "mode", "channel"),
)
MOST = 100_000  # instances
DAY = 86_400  # seconds
LONGEST_INTERVAL = 90  # seconds: with the sweep's own, a decision comes within two minutes
DEFAULTS: Mapping[str, tuple[int, int, int]] = {  # the default, and between what it may be
    "window": (300, 30, 3600),
    "minimum": (2, 1, MOST),
    "maximum": (10, 1, MOST),
    "up_step": (4, 1, MOST),
    "down_step": (1, 1, MOST),
    "up_cool_down": (180, 0, DAY),
    "down_cool_down": (900, 0, DAY),
    "lead": (900, 0, DAY),
    "interval": (60, 10, LONGEST_INTERVAL),
}


def create(key: str, fields: Mapping[str, Any], *, by: Actor) -> ScalingPolicy:
    if not isinstance(key, str) or not re.fullmatch(KEY_PATTERN, key):
        raise Invalid.of("key", "must be letters, digits, dashes and dots")
    columns = clean(fields)
    permissions.require(by, "configure", environment=columns["environment"], service=columns["service"])
    with transaction.atomic():
        if ScalingPolicy.objects.active().filter(key=key).exists():
            raise Refused(f"there is a scaling policy {key} already")
        _alone(columns)
        made = ScalingPolicy.objects.create(key=key, **columns, created_by=audit.describe(by)[:200])
        audit.record("scaling_policy.created", made, by=by, after=shown(made))
        _tell(made)
    return made


def change(
    policy: ScalingPolicy, fields: Mapping[str, Any], *, by: Actor, partly: bool = True, expected: int | None = None
) -> ScalingPolicy:
    """Replace the fields (`partly`: only those given). What was advised by the old ones is over."""
    with transaction.atomic():
        policy = _lock(policy, by)
        if expected is not None and expected != policy.version:
            raise Stale(f"scaling policy {policy.key} is at version {policy.version}, not {expected}")
        before = shown(policy)
        columns = clean({**before, **fields} if partly else fields)
        permissions.require(by, "configure", environment=columns["environment"], service=columns["service"])
        for name, value in columns.items():
            setattr(policy, name, value)
        after = shown(policy)
        if after == before:
            return policy
        _alone(columns, but=policy.pk)
        policy.version += 1
        policy.due_at = jobs.database_now()
        policy.foreseen = {}
        policy.save()
        audit.record("scaling_policy.changed", policy, by=by, before=before, after=after)
        _end_advice(policy, by, "the policy was changed")
        _tell(policy)
    return policy


def delete(policy: ScalingPolicy, *, by: Actor, because: str = "") -> None:
    """Its decisions stay on record."""
    with transaction.atomic():
        policy = _lock(policy, by)
        before = shown(policy)
        policy.active = False
        policy.channel = None  # it may be deleted now
        policy.version += 1
        policy.save(update_fields=["active", "channel", "version"])
        audit.record("scaling_policy.removed", policy, by=by, before=before, because=because)
        _end_advice(policy, by, "the policy was removed")
        live.announce("scaling", id=policy.pk)


def shown(policy: ScalingPolicy) -> dict[str, Any]:
    """Its fields as plain values."""
    found = {name: getattr(policy, name) for name in FIELDS}
    return found | {
        "service": policy.service.key,
        "environment": policy.environment.key,
        "channel": policy.channel.name if policy.channel else "",
    }


def clean(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of a policy. Raises Invalid with every field that is wrong, and why."""
    read = specs.Reading(fields)
    read.faults |= {str(name): "unknown field" for name in fields if name not in FIELDS}
    target, tolerance = read.number("target"), read.number("tolerance")
    numbers = {name: read.whole(name, usual, least=least, most=most) for name, (usual, least, most) in DEFAULTS.items()}
    count = None if fields.get("instances") is None else read.whole("instances", 1, least=1, most=MOST)
    columns: dict[str, Any] = {
        "name": read.text("name", longest=200, required=True),
        "metric": read.metric("metric", required=True),
        "aggregation": read.text(
            "aggregation",
            longest=20,
            pattern=specs.AGGREGATION,
            hint="must be mean, min, max, sum, count, stddev, last, rate, increase or a percentile such as p95",
        )
        or "mean",
        "matchers": read.labels("matchers", fields.get("matchers")),
        "target": target,
        "tolerance": 0.1 if tolerance is None else tolerance,
        **numbers,
        "instances_metric": read.metric("instances_metric"),
        "instances": count,
        "mode": read.choice("mode", tuple(ScalingPolicy.Mode), ScalingPolicy.Mode.ADVISE),
        "channel": _channel(read),
        "service": _place(read, "service", Service),
        "environment": _place(read, "environment", Environment),
    }
    if target is None:
        read.faults.setdefault("target", "is required: of the metric, for each instance")
    elif target <= 0:
        read.faults.setdefault("target", "must be more than 0")
    if not 0 <= columns["tolerance"] <= 0.5:
        read.faults.setdefault("tolerance", "must be from 0 to 0.5, a share of the target")
    if numbers["maximum"] < numbers["minimum"]:
        read.faults.setdefault("maximum", "must not be less than the minimum")
    if not columns["instances_metric"] and count is None:
        read.faults.setdefault("instances", "say how many there are, or which metric says it (instances_metric)")
    if columns["mode"] == ScalingPolicy.Mode.SEND and columns["channel"] is None:
        read.faults.setdefault("channel", "is required to send: the webhook that is told")
    if reserved := {"service", "environment"} & set(columns["matchers"]):
        read.faults.setdefault(f"matchers.{min(reserved)}", "is the policy's own: leave it out")
    if read.faults:
        raise Invalid(read.faults)
    return columns


def _place(read: "specs.Reading", name: str, model: type[Service] | type[Environment]) -> Any:
    given = read.given.get(name)
    if isinstance(given, model):
        return given
    key = read.text(name, longest=128, required=True)
    found = model.objects.filter(key=key).first() if key else None
    if key and found is None:
        read.faults.setdefault(name, f"no {name} named '{key}'")
    return found


def _channel(read: "specs.Reading") -> Channel | None:
    given = read.given.get("channel")
    if isinstance(given, Channel):
        given = given.name
    if given in (None, ""):
        return None
    found = Channel.objects.filter(name=given, active=True).first() if isinstance(given, str) else None
    if found is None or found.kind != "webhook":
        read.faults.setdefault("channel", "must be the name of an active webhook")
    return found


def _alone(columns: Mapping[str, Any], *, but: int | None = None) -> None:
    """Two policies of one place would pull at the same instances."""
    rows = ScalingPolicy.objects.active().filter(service=columns["service"], environment=columns["environment"])
    if but is not None:
        rows = rows.exclude(pk=but)
    if (other := rows.first()) is not None:
        raise Refused(f"{other.key} scales {columns['service']} in {columns['environment']} already")


def _end_advice(policy: ScalingPolicy, by: Actor, why: str) -> None:
    """What was advised, and what has not been sent yet."""
    for one in policy.decisions.filter(status=ScalingDecision.Status.ADVISED):
        states.move(one, ScalingDecision.Status.SUPERSEDED, by=by, because=why, outcome=why)
    scaling.take_back(policy, by=by, because=why)


def _lock(policy: ScalingPolicy, by: Actor) -> ScalingPolicy:
    rows = ScalingPolicy.objects.active().select_related("service", "environment", "channel")
    found = rows.select_for_update(of=("self",)).filter(pk=policy.pk).first()
    if found is None:
        raise Refused(f"scaling policy {policy.key} has been removed")
    permissions.require(by, "configure", environment=found.environment, service=found.service)
    return found


def _tell(policy: ScalingPolicy) -> None:
    live.announce("scaling", id=policy.pk)
    jobs.nudge("monitoring.scale")
