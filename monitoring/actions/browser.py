"""Taking what users' browsers measure: each page view's figures, told by strangers with a public key."""

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings

from monitoring import routes, vitals
from monitoring.actions import capping, errors, incoming, observations, rejections
from monitoring.actions.allowances import Allowance
from monitoring.actions.batches import Fault, Recorded
from monitoring.actions.error_reports import Reader
from monitoring.models import ErrorGroup, ErrorSeverity, Metric
from portal import jobs, permissions
from portal.audit import Automaton
from portal.errors import Forbidden, Invalid
from portal.models import ApiKey, Environment, Service

SOURCE = "browser"
BY = Automaton("browsers")
MOST = 100  # measurements in one report
MOST_ERRORS = 20
NOT_LOADED = "ResourceError"  # as the script calls a picture, a script or a style that did not come
BEYOND = "Other errors of browsers"
DAY = timedelta(days=1)
OLDEST = timedelta(hours=1)
LONGEST_NAME = 100  # characters of a release, a flag, a variant
FIELDS = frozenset({"service", "release", "flag", "variant", "touch", "measurements", "errors"})
ERROR_FIELDS = frozenset({"id", "page", "type", "message", "stack", "source", "age"})
MEASUREMENT_FIELDS = frozenset({"id", "page", "name", "value", "age"})
# The script cuts a little shorter; characters.
LONGEST_MESSAGE, LONGEST_STACK = 1_000, 4_000
# All of one kind may name one series: each is kept by its own, and their bucket is computed anew with each.
allowance = Allowance()
ERRORS_AT_ONCE = 20  # that may all be kept an hour, in each web process


@dataclass(slots=True)
class Report:
    """One report as it is read: what all of it shares, and what is wrong with its parts."""

    service: Service
    environment: Environment
    labels: dict[str, str]
    now: datetime
    faults: list[Fault] = field(default_factory=list)

    def at(self, age: object) -> datetime:
        """By the server's clock: a browser says how long ago, never when. More than an hour ago is taken for that."""
        if isinstance(age, bool) or not isinstance(age, int | float) or not math.isfinite(age):
            return self.now
        return self.now - min(max(timedelta(0), timedelta(seconds=min(age, 1e6))), OLDEST)

    def take_place(self, metric: str, time: datetime) -> None:
        """One more of this metric within its bucket. Raises Wrong where they are as many as are kept."""
        most = settings.PORTAL_BROWSER_FIGURES
        if not allowance.take((self.service.pk, self.environment.pk, metric, observations.bucket_of(time)), most):
            seconds = observations.BUCKET.total_seconds()
            raise incoming.Wrong(
                "", f"more than {most} of '{metric}' came within {seconds:g} s: the others are dropped"
            )

    def may_keep(self) -> bool:
        """Whether one more occurrence of any error is kept this hour: new groups each have their own share of it."""
        hour = self.now.replace(minute=0, second=0, microsecond=0)
        return allowance.take(
            (self.service.pk, self.environment.pk, hour), ERRORS_AT_ONCE * settings.PORTAL_BROWSER_ERRORS
        )

    def labels_of(self, page: object) -> dict[str, str]:
        if not isinstance(page, str) or incoming.UNKEEPABLE.search(page):
            raise incoming.Wrong("page", "is required" if page is None else "must be a string")
        name = routes.route(page)
        if not name:
            raise incoming.Wrong("page", "may not be empty")
        return capping.settle({**self.labels, "page": name}, self.service, self.environment)


def take(report: Mapping[str, Any], *, browser: str, device: str, by: ApiKey, now: datetime | None = None) -> Recorded:
    """Keep all that is good of a report; name what is not. The same report again changes nothing.

    {"service"?,"release"?,"flag"?,"variant"?,"measurements":[{"id","page","name","value","age"?}],
    "errors":[{"id","page","type","message"?,"stack"?,"source"?,"age"?}]}: names as in `vitals.MEASURED`, values in
    seconds (of cls its own number), age in seconds. Raises Invalid and Forbidden where nothing of it can be placed.
    """
    permissions.require_scope(by, ApiKey.Scope.BROWSER)
    environment = _environment(by)
    service = _service(report.get("service"), environment, by=by)
    shared = {"service": service.key, "environment": environment.key, "browser": browser, "device": device}
    read = Report(service, environment, shared | _arm(report), now or jobs.database_now())
    for name in sorted(str(one) for one in report.keys() - FIELDS):
        read.faults.append(Fault(-1, name[:100].encode("ascii", "backslashreplace").decode(), "unknown field"))
    outcome, failed = _measured(_listed(report, "measurements"), read), _failed(_listed(report, "errors"), read)
    outcome.accepted += failed.accepted
    outcome.duplicates += failed.duplicates
    outcome.errors = sorted([*read.faults, *outcome.errors, *failed.errors], key=lambda fault: fault.index)
    outcome.rejected = len(outcome.errors)
    return rejections.noted(SOURCE, outcome, by=by)


def _environment(by: ApiKey) -> Environment:
    bound = [] if by.all_environments else list(by.environments.all()[:2])
    if len(bound) != 1:
        raise Forbidden("this key does not say which environment its pages are in")
    return bound[0]


def _service(name: object, environment: Environment, *, by: ApiKey) -> Service:
    """The one that is named, or the key's only one."""
    if name is None:
        mine = [] if by.all_services else list(by.services.all()[:2])
        if len(mine) != 1:
            raise Invalid.of("service", "is required: the key is for several (data-service of the script)")
        return mine[0]
    known = isinstance(name, str) and not incoming.UNKEEPABLE.search(name)
    service = Service.objects.filter(key=name).first() if known else None
    if service is None:
        raise Invalid.of("service", f"no service named '{str(name)[:100]}'" if known else "must be a service's key")
    permissions.require_scope(by, ApiKey.Scope.BROWSER, environment=environment, service=service)
    return service


def _arm(report: Mapping[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in ("release", "flag", "variant"):
        value = report.get(name)
        if value is None or value == "":
            continue
        if not isinstance(value, str) or len(value) > LONGEST_NAME or incoming.UNKEEPABLE.search(value):
            raise Invalid.of(name, f"must be a string of at most {LONGEST_NAME} characters")
        found[name] = value
    if ("flag" in found) != ("variant" in found):
        raise Invalid.of("variant" if "flag" in found else "flag", "an arm has both, flag and variant")
    return found


def _listed(report: Mapping[str, Any], name: str) -> list[object]:
    given = report.get(name)
    if given is None:
        return []
    if not isinstance(given, list):
        raise Invalid.of(name, "must be a list")
    return given


def _measured(given: list[object], report: Report) -> Recorded:
    if len(given) > MOST:
        report.faults += [Fault(n, "", f"at most {MOST} measurements in one report") for n in range(MOST, len(given))]
    batch, places = [], []
    for place, raw in enumerate(given[:MOST]):
        try:
            one = _observation(raw, report)
            report.take_place(one["metric"], one["time"])
            batch.append(one)
            places.append(place)
        except incoming.Wrong as wrong:
            report.faults.append(Fault(place, wrong.field, wrong.message))
    if not batch:
        return Recorded()
    _describe()
    outcome = observations.record(batch, by=BY, now=report.now)
    # Told twice it has another age by its way through the network: one page view has each of them once, the first.
    outcome.duplicates += outcome.conflicts
    outcome.conflicts = 0
    outcome.errors = [Fault(places[one.index], one.field, one.message) for one in outcome.errors]
    return outcome


def _observation(raw: object, report: Report) -> dict[str, Any]:
    if not isinstance(raw, dict):
        raise incoming.Wrong("", "must be an object")
    incoming.no_others(raw, MEASUREMENT_FIELDS)
    name = raw.get("name")
    vital = vitals.MEASURED.get(name) if isinstance(name, str) else None
    if vital is None:
        raise incoming.Wrong("name", f"must be one of {', '.join(vitals.MEASURED)}")
    value = incoming.number(raw.get("value"))
    if not 0 <= value <= vital.most:
        raise incoming.Wrong("value", f"{vital.key} lies between 0 and {vital.most:g}{vital.unit and ' ' + vital.unit}")
    key = incoming.key(raw.get("id"))
    labels = report.labels_of(raw.get("page"))
    return {"metric": vital.metric, "key": key, "value": value, "time": report.at(raw.get("age")), "labels": labels}


# --- What broke -----------------------------------------------------------------------------------
def _failed(given: list[object], report: Report) -> Recorded:
    if len(given) > MOST_ERRORS:
        report.faults += [
            Fault(n, "errors", f"at most {MOST_ERRORS} in one report") for n in range(MOST_ERRORS, len(given))
        ]
    batch, places = [], []
    for place, raw in enumerate(given[:MOST_ERRORS]):
        try:
            one = _error(raw, report)
            report.take_place(errors.METRIC, one["time"])
            batch.append(one)
            places.append(place)
        except incoming.Wrong as wrong:
            report.faults.append(Fault(place, f"errors.{wrong.field}", wrong.message))
    if not batch:
        return Recorded()
    bounded = _bounded(batch, report)
    bounds = errors.Bounds(settings.PORTAL_BROWSER_ERRORS, report.may_keep)
    outcome = errors.record(bounded, by=BY, now=report.now, bounds=bounds)
    outcome.errors = [Fault(places[one.index], f"errors.{one.field}", one.message) for one in outcome.errors]
    return outcome


def _error(raw: object, report: Report) -> dict[str, Any]:
    """In the terms of `errors.record`, which checks the texts."""
    if not isinstance(raw, dict):
        raise incoming.Wrong("", "must be an object")
    incoming.no_others(raw, ERROR_FIELDS)
    labels = report.labels_of(raw.get("page"))
    kind = raw.get("type")
    return {
        "type": kind,
        "message": _cut(raw.get("message"), LONGEST_MESSAGE),
        "stack": _cut(raw.get("stack"), LONGEST_STACK),
        "url": raw.get("source"),
        # A picture that is missing stops nobody.
        "severity": ErrorSeverity.WARNING if kind == NOT_LOADED else ErrorSeverity.ERROR,
        "service": report.service.key,
        "environment": report.environment.key,
        "release": labels.get("release"),
        "time": report.at(raw.get("age")),
        "key": incoming.key(raw.get("id")),
        "labels": {name: labels[name] for name in ("page", "browser", "device", "flag", "variant") if name in labels},
    }


def _cut(given: object, most: int) -> object:
    return given[:most] if isinstance(given, str) else given


def _bounded(batch: list[dict[str, Any]], report: Report) -> list[dict[str, Any]]:
    """Errors that strangers make up would be groups without end: so many new ones a day, and one for the rest."""
    of_here = ErrorGroup.objects.filter(service=report.service, environment=report.environment)
    if of_here.filter(first_seen__gt=report.now - DAY).count() + len(batch) <= settings.PORTAL_BROWSER_ERROR_GROUPS:
        return batch
    reader, prints = Reader(BY, report.now), {}
    for place, one in enumerate(batch):
        with suppress(incoming.Wrong):  # named when it is recorded
            prints[place] = reader.read(place, one).grouped.fingerprint
    known = set(of_here.filter(fingerprint__in=prints.values()).values_list("fingerprint", flat=True))
    return [
        one | {"type": BEYOND, "fingerprint": [BEYOND]} if place in prints and prints[place] not in known else one
        for place, one in enumerate(batch)
    ]


def _describe() -> None:
    """The metrics with their units, before a first value makes them without."""
    there = set(Metric.objects.filter(name__in=vitals.METRICS).values_list("name", flat=True))
    missing = [
        Metric(
            name=one.metric,
            type=Metric.Type.HISTOGRAM,
            unit=one.unit,
            direction=Metric.Direction.LOWER_IS_BETTER,
            description=f"{one.name}: {one.description}",
        )
        for one in vitals.MEASURED.values()
        if one.metric not in there
    ]
    if missing:
        Metric.objects.bulk_create(missing, ignore_conflicts=True)
