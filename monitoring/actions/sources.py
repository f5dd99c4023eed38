"""Making, changing and taking away the sources that are asked, and trying one."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from django.db import transaction
from django.db.models.functions import Now

from monitoring import sources
from monitoring.actions import incoming, pulling
from monitoring.actions.batches import Batch, Fault
from monitoring.actions.incoming import Wrong
from monitoring.models import MetricSource
from monitoring.sources import Kind, Pulled
from portal import audit, jobs, live, permissions
from portal.audit import Actor
from portal.errors import Invalid, Refused

LONGEST_SECRET = 5000
MOST_LABELS = 20
SETTABLE = (
    "name", "kind", "config", "secret", "labels", "service", "environment", "interval", "timeout", "active",
)  # fmt: skip
PLACES = ("service", "environment")
LONGEST_INTERVAL = 86_400  # seconds
LONGEST_TIMEOUT = 30  # seconds
# Somebody waits for it.
TRIED_WITHIN = 5.0  # seconds
SHOWN_SAMPLES = 100
SHOWN_FAULTS = 20


@dataclass(frozen=True, slots=True)
class Tried:
    """What a pull would have brought."""

    error: str
    duration: float  # seconds
    skew: float | None
    samples: list[dict[str, Any]]  # the first of them, as they would be kept
    total: int
    skipped: int  # NaN, infinite, or too old to say anything
    rejected: int
    faults: list[Fault]

    def __str__(self) -> str:
        kept = f"{self.total - self.rejected} samples in {self.duration:.2f} s would be kept"
        if self.rejected:
            first = self.faults[0]
            kept += f", {self.rejected} rejected ({first.field}: {first.message})"
        return f"it fails: {self.error}; {kept}" if self.error else f"it answers: {kept}"


def create(fields: Mapping[str, Any], *, by: Actor) -> MetricSource:
    source = MetricSource(**_known(fields))
    _check(source)
    _require(source, by=by)
    with transaction.atomic():
        _alone(source)
        source.save()
        audit.record("source.created", source, by=by, after=shown(source))
        live.announce("sources", id=source.pk)
        jobs.nudge("monitoring.pull")
    return MetricSource.objects.select_related(*PLACES).get(pk=source.pk)


def change(source: MetricSource, fields: Mapping[str, Any], *, by: Actor, because: str = "") -> MetricSource:
    """Replace the fields given. The secret is written over, never read; another address needs it given again."""
    _require(source, by=by)
    with transaction.atomic():
        source = _lock(source)
        before, asked = shown(source), _whom(source)
        given = _known(fields)
        for name, value in given.items():
            setattr(source, name, value)
        _check(source)
        _require(source, by=by)
        _alone(source)
        if source.secret and "secret" not in given and _whom(source) != asked:
            raise Invalid.of("secret", "give it again: it was meant for another address")
        after = shown(source) | ({"secret": "changed"} if "secret" in given else {})
        if after != before:
            source.due_at, source.lease_token, source.failures = Now(), None, 0
            source.save()
            audit.record("source.changed", source, by=by, before=before, after=after, because=because)
            live.announce("sources", id=source.pk)
            jobs.nudge("monitoring.pull")
    return MetricSource.objects.select_related(*PLACES).get(pk=source.pk)


def delete(source: MetricSource, *, by: Actor, because: str = "") -> None:
    """What it brought stays."""
    _require(source, by=by)
    with transaction.atomic():
        source = _lock(source)
        audit.record("source.deleted", source, by=by, before=shown(source), because=because)
        live.announce("sources", id=source.pk)
        source.delete()


def pull_now(source: MetricSource, *, by: Actor) -> None:
    """Have it asked at once, without waiting for its turn."""
    permissions.require(by, "operate", environment=source.environment, service=source.service)
    with transaction.atomic():
        source = _lock(source)
        if not source.active:
            raise Refused(f"source {source} is paused")
        if source.lease_token is None:  # else it is being asked right now
            source.due_at = jobs.database_now()
            source.save(update_fields=["due_at"])
        audit.record("source.asked", source, by=by)
        jobs.nudge("monitoring.pull")


def try_out(fields: Mapping[str, Any], *, by: Actor) -> Tried:
    """Ask now what is described, and keep nothing."""
    source = MetricSource(**_known(fields))
    source.name = source.name or "tried"
    _check(source)
    return try_(source, by=by)


def try_(source: MetricSource, *, by: Actor) -> Tried:
    """Ask now, and say what would be kept."""
    _require(source, by=by)
    kind = _kind(source)
    lease = replace(pulling.lease_of(source, jobs.database_now()), timeout=min(source.timeout, TRIED_WITHIN))
    fetched = pulling.fetch(kind, lease)
    samples = pulling.dressed(lease, fetched)
    faults = _faults(samples, fetched.pulled)
    return Tried(
        fetched.pulled.error,
        round(fetched.duration, 3),
        fetched.pulled.skew,
        samples[:SHOWN_SAMPLES],
        len(samples) + len(fetched.pulled.written.wrong),
        fetched.pulled.written.skipped,
        len(faults),
        faults[:SHOWN_FAULTS],
    )


def shown(source: MetricSource) -> dict[str, Any]:
    """What of it is configuration, without the secret."""
    plain = {name: getattr(source, name) for name in SETTABLE if name not in ("secret", *PLACES)}
    return plain | {name: place.key if (place := getattr(source, name)) else None for name in PLACES}


def _faults(samples: list[dict[str, Any]], pulled: Pulled) -> list[Fault]:
    batch = Batch.begin(pulling.BY, now=None)
    batch.read(samples, fields=frozenset({"metric", "value", "time", "labels"}))
    return [*batch.outcome.errors, *(Fault(one.index, one.field, one.message) for one in pulled.written.wrong)]


def _known(fields: Mapping[str, Any]) -> dict[str, Any]:
    unknown = sorted(set(fields) - set(SETTABLE))
    if unknown:
        raise Invalid.of(unknown[0], "unknown field")
    return dict(fields)


def _require(source: MetricSource, *, by: Actor) -> None:
    """Without a place of its own it may bring samples of every place."""
    permissions.require(by, "configure", environment=source.environment, service=source.service)


def _kind(source: MetricSource) -> Kind:
    kind = sources.find(source.kind)
    if kind is None:
        raise Invalid.of("kind", f"must be one of {', '.join(sources.names())}")
    return kind


def _check(source: MetricSource) -> None:
    kind = _kind(source)
    faults: dict[str, str] = {}
    if not isinstance(source.name, str) or not source.name.strip() or len(source.name) > 100:
        faults["name"] = "must be 1 to 100 characters"
    elif incoming.UNKEEPABLE.search(source.name):
        faults["name"] = "may not contain NUL or half a surrogate pair"
    for name, most in (("interval", LONGEST_INTERVAL), ("timeout", LONGEST_TIMEOUT)):
        value = getattr(source, name)
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            faults[name] = f"must be a whole number of seconds from 1 to {most}"
    if not faults and source.timeout > source.interval:
        faults["timeout"] = f"must not be longer than the interval, {source.interval} s"
    if source.active not in (True, False):
        faults["active"] = "must be true or false"
    if not isinstance(source.secret, str) or len(source.secret) > LONGEST_SECRET or not source.secret.isprintable():
        faults["secret"] = f"must be at most {LONGEST_SECRET} printable characters"
    faults |= _check_labels(source)
    if not isinstance(source.config, Mapping):
        faults["config"] = "must be an object"
    else:
        try:
            source.config = kind.clean(source.config)
        except Invalid as wrong:
            faults |= {f"config.{name}" if name else "config": words for name, words in wrong.errors.items()}
    if faults:
        raise Invalid(faults)


def _check_labels(source: MetricSource) -> dict[str, str]:
    if not isinstance(source.labels, Mapping) or len(source.labels) > MOST_LABELS:
        return {"labels": f"must be an object of at most {MOST_LABELS} labels"}
    taken = next((name for name in (*PLACES, *pulling.OWN) if name in source.labels), None)
    if taken is not None:
        say = "the field of this name says it" if taken in PLACES else "the source itself says it"
        return {f"labels.{taken}": say}
    try:
        source.labels = incoming.labels(source.labels)
    except Wrong as wrong:
        return {wrong.field: wrong.message}
    return {}


def _whom(source: MetricSource) -> tuple[str, str]:
    """Who gets to see the secret."""
    parts = urlsplit(str(source.config.get("url", "")))
    return parts.scheme, parts.netloc


def _alone(source: MetricSource) -> None:
    if MetricSource.objects.filter(name=source.name).exclude(pk=source.pk).exists():
        raise Refused(f"there is a source named {source.name} already")


def _lock(source: MetricSource) -> MetricSource:
    rows = MetricSource.objects.select_for_update(of=("self",)).select_related(*PLACES)
    found = rows.filter(pk=source.pk).first()
    if found is None:
        raise Refused(f"source {source.name} has been deleted")
    return found
