"""Making, changing and taking away escalation policies."""

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from monitoring.models import Channel, EscalationPolicy, Rota
from portal import audit, permissions
from portal.audit import Actor
from portal.errors import Invalid, Refused
from portal.models import User

PLAIN = ("name", "steps", "repeat", "remind_after", "is_default")
TARGETS = ("people", "rotas", "channels")
MOST_STEPS = 20
MOST_TARGETS = 20
LONGEST_DELAY = 7 * 86_400  # seconds
MOST_LAPS = 20


def create(key: str, fields: Mapping[str, Any], *, by: Actor) -> EscalationPolicy:
    permissions.require(by, "configure")
    with transaction.atomic():
        if EscalationPolicy.objects.filter(key=key).exists():
            raise Refused(f"there is an escalation policy {key} already")
        policy = EscalationPolicy(key=key)
        _write(policy, {"name": key, "steps": [], **fields})
        audit.record("escalation_policy.created", policy, by=by, after=shown(policy))
    return policy


def change(policy: EscalationPolicy, fields: Mapping[str, Any], *, by: Actor) -> EscalationPolicy:
    """Replace the fields given. Incidents that are open keep the policy that they opened with."""
    permissions.require(by, "configure")
    with transaction.atomic():
        policy = _lock(policy)
        before = shown(policy)
        _write(policy, fields)
        if shown(policy) != before:
            audit.record("escalation_policy.changed", policy, by=by, before=before, after=shown(policy))
    return policy


def delete(policy: EscalationPolicy, *, by: Actor, because: str = "") -> None:
    """Not while an incident definition names it."""
    permissions.require(by, "configure")
    with transaction.atomic():
        policy = _lock(policy)
        used = policy.definitions.first()
        if used is not None:
            raise Refused(f"incident definition {used.key} names {policy}: take it out there first")
        audit.record("escalation_policy.deleted", policy, by=by, before=shown(policy), because=because)
        policy.delete()


def shown(policy: EscalationPolicy) -> dict[str, Any]:
    return {name: getattr(policy, name) for name in PLAIN}


def _write(policy: EscalationPolicy, fields: Mapping[str, Any]) -> None:
    faults: dict[str, str] = {}
    for name in PLAIN:
        if name in fields:
            setattr(policy, name, fields[name])
    if not str(policy.name).strip():
        faults["name"] = "is required"
    if "steps" in fields:
        policy.steps = _steps(fields["steps"], faults)
    if not _is_whole(policy.repeat, 0, MOST_LAPS):
        faults["repeat"] = f"must be a whole number from 0 to {MOST_LAPS}"
    if policy.remind_after is not None and not _is_delay(policy.remind_after, least=60):
        faults["remind_after"] = f"must be whole seconds, from 60 to {LONGEST_DELAY}"
    if not _is_truth(policy.is_default):
        faults["is_default"] = "must be true or false"
    if faults:
        raise Invalid(faults)
    if policy.is_default:
        # There is one at a time: the new one takes the place of the old one.
        EscalationPolicy.objects.filter(is_default=True).exclude(pk=policy.pk).update(is_default=False)
    policy.save()


def _steps(given: Any, faults: dict[str, str]) -> list[dict[str, Any]]:
    if not isinstance(given, list) or not 1 <= len(given) <= MOST_STEPS:
        faults["steps"] = f"must be a list of 1 to {MOST_STEPS} steps"
        return []
    return [_step(f"steps[{place}]", one, faults) for place, one in enumerate(given)]


def _step(path: str, given: Any, faults: dict[str, str]) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        faults[path] = "must be {delay, people, rotas, channels}"
        return {}
    if unknown := sorted(set(given) - {"delay", *TARGETS}):
        faults[f"{path}.{unknown[0]}"] = "unknown field"
    delay = given.get("delay", 900)
    if not _is_delay(delay, least=30):
        faults[f"{path}.delay"] = f"must be whole seconds, from 30 to {LONGEST_DELAY}"
    clean: dict[str, Any] = {"delay": delay}
    for name in TARGETS:
        named = given.get(name, [])
        if not isinstance(named, list) or len(named) > MOST_TARGETS or not all(_is_name(one) for one in named):
            faults[f"{path}.{name}"] = f"must be a list of at most {MOST_TARGETS} names"
            continue
        if named := list(dict.fromkeys(named)):
            clean[name] = named
        if unknown := sorted(set(named) - _known(name, named)):
            faults[f"{path}.{name}"] = f"there is no {unknown[0]}"[:200]
    if not any(given.get(name) for name in TARGETS):
        faults.setdefault(path, "must call somebody: people, rotas or channels")
    return clean


def _known(kind: str, names: list[str]) -> set[str]:
    match kind:
        case "people":
            rows, name = User.objects.filter(is_active=True), "username"
            return set(rows.filter(username__in=names).values_list(name, flat=True))
        case "rotas":
            return set(Rota.objects.filter(key__in=names).values_list("key", flat=True))
        case _:
            return set(Channel.objects.filter(name__in=names).values_list("name", flat=True))


def _is_name(given: Any) -> bool:
    return isinstance(given, str) and 0 < len(given) <= 200 and "\0" not in given


def _is_truth(given: Any) -> bool:
    return isinstance(given, bool)


def _is_delay(given: Any, *, least: int) -> bool:
    return _is_whole(given, least, LONGEST_DELAY)


def _is_whole(given: Any, least: int, most: int) -> bool:
    return isinstance(given, int) and not isinstance(given, bool) and least <= given <= most


def _lock(policy: EscalationPolicy) -> EscalationPolicy:
    found = EscalationPolicy.objects.select_for_update().filter(pk=policy.pk).first()
    if found is None:
        raise Refused(f"escalation policy {policy.key} has been deleted")
    return found
