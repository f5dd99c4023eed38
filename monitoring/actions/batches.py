"""A batch on its way in: each sample checked, the caller's reach checked, the series found."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.conf import settings
from django.db import transaction

from monitoring.actions import due, incoming, series
from monitoring.actions.incoming import Times, Wrong
from monitoring.actions.plain import NONE, Plain
from monitoring.actions.series import Key, Known, Wanted
from monitoring.histogram import Distribution, Explicit, Histogram
from monitoring.models import Metric
from portal import audit, jobs, permissions
from portal.audit import Actor
from portal.errors import Forbidden
from portal.figures import INGESTED
from portal.models import ApiKey, Environment, Service, User


@dataclass(frozen=True, slots=True)
class Fault:
    """Why one sample of the batch was rejected."""

    index: int
    field: str
    message: str


@dataclass(slots=True)
class Recorded:
    """What became of a batch."""

    accepted: int = 0
    duplicates: int = 0
    conflicts: int = 0
    rejected: int = 0
    errors: list[Fault] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """The contract's body."""
        return {
            "accepted": self.accepted,
            "duplicates": self.duplicates,
            "conflicts": self.conflicts,
            "rejected": self.rejected,
            "errors": [{"index": one.index, "field": one.field, "message": one.message} for one in self.errors],
        }


@dataclass(slots=True)
class Entry:
    """One good sample or observation."""

    index: int
    series: Known | Wanted
    time: datetime
    value: float | Distribution
    key: str = ""  # an observation's own
    timed: bool = True  # it came with its time


Settled = list[tuple[Entry, Known]]


@dataclass(slots=True)
class Batch:
    """Reads a batch, then settles which series its entries belong to."""

    by: Actor
    times: Times
    outcome: Recorded = field(default_factory=Recorded)
    entries: list[Entry] = field(default_factory=list)
    wanted: dict[Key, Wanted] = field(default_factory=dict)
    named: list[Mapping[str, Any]] = field(default_factory=list)  # labels of what was rejected
    default_environment: str | None = None

    @classmethod
    def begin(cls, by: Actor, *, now: datetime | None) -> "Batch":
        permissions.require_scope(by, "ingest")
        retention = timedelta(hours=settings.PORTAL_RAW_RETENTION_HOURS)
        batch = cls(by, Times.around(now or jobs.database_now(), retention=retention))
        if isinstance(by, ApiKey) and not by.all_environments:
            bound = list(by.environments.values_list("key", flat=True)[:2])
            batch.default_environment = bound[0] if len(bound) == 1 else None
        return batch

    def read(
        self,
        things: Iterable[object],
        *,
        fields: frozenset[str],
        keyed: bool = False,
        places: Sequence[int] | None = None,
    ) -> None:
        """Check each; what is wrong is rejected by its index (or its place, where `places` names them), the rest stays.

        Every sample passes here: it counts.
        """
        read_time, number, series_of, keep = self.times.read, incoming.number, self._series_of, self.entries.append
        for index, raw in enumerate(things) if places is None else zip(places, things, strict=True):
            try:
                if type(raw) is not dict:
                    raise Wrong("", "must be an object")
                if not raw.keys() <= fields:
                    incoming.no_others(raw, fields)
                value: Any = raw.get("value")
                time = raw.get("time")
                kind = type(value)
                if kind is dict and not keyed:
                    value = incoming.distribution(value)
                elif keyed or (kind is not Explicit and kind is not Histogram):  # ours, where a source has read them
                    value = number(value)
                at = read_time(time)
                if keyed:
                    own = incoming.key(raw.get("key"))
                    series_ = series_of(raw.get("metric"), raw.get("labels"), as_histogram=True)
                    keep(Entry(index, series_, at, value, own, time is not None))
                else:
                    series_ = series_of(raw.get("metric"), raw.get("labels"), as_histogram=type(value) is not float)
                    keep(Entry(index, series_, at, value))
            except Wrong as wrong:
                self.reject(index, wrong.field, wrong.message)
                if type(raw) is dict and type(raw.get("labels")) is dict:
                    self.named.append(raw["labels"])

    def _series_of(self, metric: Any, labels: Any, *, as_histogram: bool) -> Known | Wanted:
        try:
            key: Key = (metric, () if labels is None else tuple(labels.items()), self.default_environment)
            found = series.memory.get(key) or self.wanted.get(key)
        except (TypeError, AttributeError):
            # Not what a key is made of. The checks know the words for it, and let nothing of that kind through.
            incoming.metric_name(metric)
            incoming.labels(labels)
            raise
        if found is None:
            found = self.wanted[key] = self._wanted(metric, labels, as_histogram=as_histogram)
        return found

    def _wanted(self, metric: object, labels: object, *, as_histogram: bool) -> Wanted:
        name, checked = incoming.metric_name(metric), incoming.labels(labels)
        if self.default_environment is not None:
            checked.setdefault("environment", self.default_environment)
        return Wanted(name, checked, as_histogram)

    def reject(self, index: int, where: str, message: str) -> None:
        self.outcome.rejected += 1
        self.outcome.errors.append(Fault(index, where, message))

    def settle(self, also: Iterable[Known] = ()) -> Settled:
        """The entries with their series. Raises Forbidden, before anything is written, when one is out of reach.

        also: series that are written beside them.
        """
        labels = [entry.series.labels for entry in self.entries]
        if not is_unbound(self.by):
            labels += [known.labels for known in also]
        authorise([*labels, *self.named], by=self.by)
        if self.wanted:
            self._note_latest()
            series.resolve(self.wanted)
        settled: Settled = []
        for entry in self.entries:
            found = entry.series.found if isinstance(entry.series, Wanted) else entry.series
            if not isinstance(found, Known):
                self.reject(entry.index, found.field, found.message)
            elif (entry.key or type(entry.value) is not float) and (misfit := _misfit(entry, found)):
                self.reject(entry.index, "value", misfit)
            else:
                settled.append((entry, found))
        return settled

    def _note_latest(self) -> None:
        """What new series are first heard of with: to note it later would write each of their rows a second time."""
        for entry in self.entries:
            one, value = entry.series, entry.value
            if isinstance(one, Known) or entry.key or not isinstance(value, float):
                continue
            if one.latest is None or one.latest[0] < entry.time:
                one.latest = entry.time, value

    def again(self, gone: frozenset[int], settled: Settled) -> Settled:
        """The entries whose series was deleted behind this process's back, with the series made anew."""
        series.forget(gone)
        self.entries, self.wanted = [], {}
        for entry, known in settled:
            if known.id in gone:
                key: Key = (known.metric, tuple(known.labels.items()), self.default_environment)
                as_histogram = known.type == Metric.Type.HISTOGRAM
                wanted = self.wanted.setdefault(key, Wanted(known.metric, known.labels, as_histogram))
                self.entries.append(replace(entry, series=wanted))
        return self.settle()

    def finish(self, settled: Settled, plain: Plain = NONE) -> Recorded:
        """After commit: note the series as heard of, and have the thresholds on them judged."""
        latest: dict[int, tuple[Known, datetime, float | None]] = {}
        for entry, known in settled:
            if known.id not in latest or latest[known.id][1] < entry.time:
                value = entry.value if isinstance(entry.value, float) else mean_of(entry.value)
                latest[known.id] = (known, entry.time, value)
        transaction.on_commit(partial(series.hear, [*latest.values(), *plain.unheard()]))
        transaction.on_commit(
            partial(due.mark, {known.metric for known in (*(one for _, one in settled), *plain.known)})
        )
        for name in ("accepted", "duplicates", "conflicts"):
            INGESTED.labels(name).inc(getattr(self.outcome, name))
        self.outcome.errors.sort(key=lambda fault: fault.index)
        return self.outcome


def mean_of(distribution: Distribution) -> float | None:
    return distribution.sum / distribution.count if distribution.count else None


def _misfit(entry: Entry, known: Known) -> str:
    """Why this kind of value is not for this type of metric; empty when it is."""
    if entry.key and known.type == Metric.Type.COUNTER:
        return f"metric '{known.metric}' is a counter: it takes samples, no observations"
    if not isinstance(entry.value, float) and known.type != Metric.Type.HISTOGRAM:
        return f"metric '{known.metric}' is a {known.type}: its value is a number"
    return ""


def is_unbound(by: Actor) -> bool:
    """Whether no place is out of the caller's reach, whatever its labels say."""
    return not isinstance(by, User) and (not isinstance(by, ApiKey) or (by.all_environments and by.all_services))


def authorise(labels: Sequence[Mapping[str, Any]], *, by: Actor) -> None:
    """One place out of the caller's reach refuses the whole request."""
    if isinstance(by, ApiKey):
        if not by.all_environments:
            _only("environment", {_place(one, "environment") for one in labels}, by.environments, by=by)
        if not by.all_services:
            _only("service", {_place(one, "service") for one in labels}, by.services, by=by)
    elif isinstance(by, User) and not by.is_superuser:
        places = {(_place(one, "environment"), _place(one, "service")) for one in labels}
        environments = {one.key: one for one in Environment.objects.filter(key__in=[name for name, _ in places])}
        services = {one.key: one for one in Service.objects.filter(key__in=[name for _, name in places])}
        for environment, service in places:
            # A name that does not exist is rejected for that, later.
            permissions.require_scope(
                by,
                "ingest",
                environment=environments.get(environment, permissions.ANY),
                service=services.get(service, permissions.ANY),
            )


def _place(labels: Mapping[str, Any], name: str) -> str:
    """The place that a label names; empty when it names none (or nothing that could be one)."""
    value = labels.get(name)
    return value if isinstance(value, str) and not incoming.UNKEEPABLE.search(value) else ""


def _only(kind: str, named: set[str], allowed: Any, *, by: ApiKey) -> None:
    beyond = sorted(named - {""} - set(allowed.values_list("key", flat=True)))
    if beyond:
        raise Forbidden(f"{audit.describe(by)} may not write for the {kind} '{beyond[0][:200]}'")
