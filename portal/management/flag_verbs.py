"""What each verb of `manage.py flag` does: one action, and its answer in words and as data."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django.core.management.base import CommandError
from django.db.models import Q

from portal import permissions
from portal.management import flag_input
from portal.management.console import misused
from portal.management.flag_input import Asked
from portal.models import Environment, Service
from rollouts import snapshots
from rollouts.actions import change_requests, flag_definitions, flag_writes, flags
from rollouts.api import flag_shapes as shapes
from rollouts.engine import documents, reading
from rollouts.engine.evaluate import evaluate
from rollouts.engine.types import Trace
from rollouts.models import ChangeRequest, Flag, FlagConfig, FlagRevision
from rollouts.views import flag_words

VERBS = {
    "list": "every flag, and what it does where",
    "show": "one flag: its definition and its configs",
    "set": "change the definition, or with --environment what the flag does there",
    "on": "switch it on again, as it was",
    "off": "the kill switch: everyone gets the off variant",
    "explain": "what somebody gets, and why, step by step",
    "history": "every write, newest first",
    "restore": "an earlier revision of a config becomes the current one, as a new revision",
}
WRITE = {"set", "on", "off", "restore"}
MAY_ASK = {"set", "on", "restore"}
NEED_ENVIRONMENT = {"on", "off", "explain", "restore"}


@dataclass(frozen=True, slots=True)
class Answer:
    text: str
    data: Any


def do(verb: str, asked: Asked) -> Answer:
    for name, value in asked.options.items():
        if isinstance(value, str) and not reading.storable(value):
            raise misused(f"{name}: is not UTF-8")
    verbs: dict[str, Callable[[Asked], Answer]] = {
        "list": _list, "show": _show, "set": _set, "on": _on, "off": _off, "explain": _explain, "history": _history,
        "restore": _restore,
    }  # fmt: skip
    return verbs[verb](asked)


# --- Looking ------------------------------------------------------------------------------------
def _list(asked: Asked) -> Answer:
    rows = _seen(asked).filter(archived_at__isnull=not asked.options["archived"])
    text = asked.options["search"]
    if text:
        rows = rows.filter(Q(key__icontains=text) | Q(description__icontains=text) | Q(owner__icontains=text))
    places = _places(asked)
    configs = {
        (config.flag_id, config.environment_id): config
        for config in FlagConfig.objects.filter(flag__in=rows, environment__in=places)
    }
    found: list[dict[str, Any]] = []
    lines = []
    for flag in rows:
        held = {place: configs.get((flag.pk, place.pk)) for place in places}
        summaries = {place: flag_words.summary(config) for place, config in held.items()}
        where = {
            place.key: {"enabled": bool(config and config.enabled), "revision": config.revision if config else 0}
            for place, config in held.items()
        }
        found.append({**shapes.FlagShape(flag).data, "environments": where})
        states = "  ".join(f"{place}: {_state(one)}" for place, one in summaries.items())
        lines.append(f"{flag.key:<32} {flag.type:<10} {states}".rstrip())
    return Answer("\n".join(lines) or "no flags", found)


def _show(asked: Asked) -> Answer:
    flag = _flag(asked)
    whose = flag.service or permissions.ANY
    places = [one for one in _places(asked) if permissions.can(asked.by, "view", environment=one, service=whose)]
    configs = [flag_writes.config_of(flag, place) for place in places]
    variants = ", ".join(f"{one['key']} = {json.dumps(one['value'], ensure_ascii=False)}" for one in flag.variants)
    lines = [
        f"{flag}: {flag.get_type_display()}, {flag.value_type}, {flag.purpose}, {flag.risk} risk"
        + (", archived" if flag.archived_at else ""),
        *([flag.description] if flag.description else []),
        f"owner {flag.owner or 'nobody'}, service {flag.service or 'none'}, revision {flag.revision}",
        f"variants {variants}",
    ]
    for config in configs:
        lines += ["", f"{config.environment}: {_state(flag_words.summary(None if config.is_new else config))}"
                      f", revision {config.revision}"]  # fmt: skip
        if not config.is_new:
            lines += [f"  {condition}" for condition in flag_words.conditions(config)]
            for variant, units in config.overrides.items():
                lines.append(f"  {len(units)} named: {variant}")
            lines += [f"  {line.who}: {line.what}" for line in flag_words.lines(config)]
            lines.append(f"  everyone else: {flag_words.serving(config.fallthrough)}; off: {config.off_variant}")
    data = {**shapes.FlagShape(flag).data, "environments": [shapes.shown_config(config) for config in configs]}
    return Answer("\n".join(lines), data)


def _explain(asked: Asked) -> Answer:
    flag, place = _flag(asked), _place(asked)
    _config(asked, flag, place)
    context = flag_input.context(asked)
    trace: Trace = []
    result = evaluate(snapshots.fresh(place, flag.key), flag.key, context, now=time.time(), trace=trace)
    data = {
        "flag": flag.key,
        "environment": place.key,
        "variant": result.variant,
        "value": result.value,
        "reason": result.reason if result.error is None else None,
        "reasonDetail": result.detail,
        "ruleId": result.rule,
        "errorCode": result.error,
        "errorDetails": result.message,
        "trace": trace,
    }
    if result.error is None:
        told = json.dumps(result.value, ensure_ascii=False)
        lines = [f"{result.variant} = {told}: {result.reason}, {result.detail}"]
    else:
        lines = [f"{result.error}: {result.message}"]
    return Answer("\n".join([*lines, *(f"  {_step(one)}" for one in trace)]), data)


def _history(asked: Asked) -> Answer:
    limit = asked.options["limit"]
    if limit < 1:
        raise misused("--limit: at least 1")
    rows = FlagRevision.objects.filter(flag=_flag(asked)).select_related("flag", "environment")
    if asked.options["environment"]:
        rows = rows.filter(environment=_place(asked))
    else:
        rows = rows.filter(Q(environment=None) | Q(environment__in=_places(asked)))
    found = list(rows[:limit])
    lines = [
        f"{one.environment or 'definition'} r{one.number}  {one.at:%Y-%m-%d %H:%M:%SZ}  {one.actor}  "
        f"[{', '.join(one.diff)}]{f'  {one.because}' if one.because else ''}"
        for one in found
    ]
    return Answer("\n".join(lines) or "no revisions", shapes.RevisionShape(found, many=True).data)


# --- Changing -----------------------------------------------------------------------------------
def _set(asked: Asked) -> Answer:
    given, because = flag_input.given(asked), asked.options["because"]
    flag = _flag(asked)
    if asked.options["environment"] is None:
        if asked.options["request"]:
            raise misused("--request: in which --environment?")
        if set(given) & set(documents.EDITABLE):
            raise misused(f"{', '.join(sorted(set(given) & set(documents.EDITABLE)))}: in which --environment?")
        if given.get("service") is not None:
            given["service"] = _service(asked, given["service"])
        changed = flags.change(flag, given, by=asked.by, because=because, expected_revision=asked.options["expect"])
        word = "changed" if changed else "is like that already"
        return Answer(f"{flag}: {word}, revision {flag.revision}", shapes.FlagShape(flag).data)
    foreign = sorted(set(given) & set(flag_definitions.CHANGEABLE))
    if foreign:
        raise misused(f"{', '.join(foreign)}: the same in every environment, so without --environment")
    place = _place(asked)
    before = _config(asked, flag, place)
    given |= flag_input.fallthrough(asked, flag, before)
    if asked.options["request"]:
        return _requested(change_requests.open(flag, place, given, by=asked.by, because=because))
    made = flags.configure(
        flag, place, given, by=asked.by, because=because, expected_revision=asked.options["expect"]
    )  # fmt: skip
    return _changed(made, before.revision)


def _on(asked: Asked) -> Answer:
    flag, place = _flag(asked), _place(asked)
    before = _config(asked, flag, place).revision
    if asked.options["request"]:
        because = asked.options["because"]
        return _requested(change_requests.open(flag, place, {"enabled": True}, by=asked.by, because=because))
    return _changed(flags.switch_on(flag, place, by=asked.by, because=asked.options["because"]), before)


def _off(asked: Asked) -> Answer:
    flag, place = _flag(asked), _place(asked)
    before = _config(asked, flag, place).revision
    return _changed(flags.kill(flag, place, by=asked.by, because=asked.options["because"]), before)


def _restore(asked: Asked) -> Answer:
    numbers = {asked.options["number"], asked.options["revision"]} - {None}
    if len(numbers) != 1:
        raise misused("restore: name one revision")
    (number,) = numbers
    flag, place = _flag(asked), _place(asked)
    before = _config(asked, flag, place).revision
    if asked.options["request"]:
        because = asked.options["because"]
        return _requested(change_requests.open_restore(flag, place, number, by=asked.by, because=because))
    made = flags.restore(flag, place, number, by=asked.by, because=asked.options["because"])
    return _changed(made, before)


def _requested(request: ChangeRequest) -> Answer:
    """Nothing is changed yet: somebody else has to approve it."""
    told = {"change_request": request.pk, "status": request.status, "title": request.title}
    return Answer(f"change request {request.pk} is {request.status}: {request.title}", told)


def _changed(config: FlagConfig, before: int) -> Answer:
    word = "is like that already" if config.revision == before else _state(flag_words.summary(config))
    text = f"{config.flag} in {config.environment}: {word}, revision {config.revision}"
    return Answer(text, shapes.shown_config(config))


# --- Finding ------------------------------------------------------------------------------------
def _seen(asked: Asked) -> Any:
    return permissions.visible(asked.by, Flag.objects.select_related("service"), environment=None)


def _flag(asked: Asked) -> Flag:
    key = asked.options["key"]
    found = _seen(asked).filter(key=key).first()
    if found is None:
        raise CommandError(f"there is no flag {key}")
    return found


def _service(asked: Asked, key: Any) -> Service:
    seen = permissions.visible(asked.by, Service.objects.all(), environment=None, service="id")
    found = seen.filter(key=key).first() if isinstance(key, str) else None
    if found is None:
        raise CommandError(f"service: there is no service {key}")
    return found


def _places(asked: Asked) -> list[Environment]:
    """The environment that was asked for, or all that this actor may see."""
    seen = permissions.visible(asked.by, Environment.objects.all(), environment="id", service=None)
    key = asked.options["environment"]
    if key is None:
        return list(seen)
    found = seen.filter(key=key).first()
    if found is None:
        known = ", ".join(seen.values_list("key", flat=True)) or "none yet"
        raise CommandError(f"there is no environment {key} (there are: {known})")
    return [found]


def _place(asked: Asked) -> Environment:
    return _places(asked)[0]


def _config(asked: Asked, flag: Flag, place: Environment) -> FlagConfig:
    permissions.require(asked.by, "view", environment=place, service=flag.service or permissions.ANY)
    return flag_writes.config_of(flag, place)


# --- Telling ------------------------------------------------------------------------------------
def _state(summary: flag_words.Summary) -> str:
    word = summary.word.lower()
    if summary.state in ("on", "serving"):
        rules = f", {summary.rules} rule{'s' if summary.rules != 1 else ''}" if summary.rules else ""
        return f"{word} ({summary.everyone}{rules})"
    return word


def _step(step: Mapping[str, Any]) -> str:
    name = step.get("rule") or step.get("flag") or ""
    return f"{step['step']} {name}: {step.get('why', '')}".rstrip(": ")
