"""Taking what users' browsers measure: each page view's figures, told by strangers with a public key."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from monitoring import vitals
from monitoring.actions import incoming, observations, page_errors, page_reports, rejections
from monitoring.actions.batches import Fault, Recorded
from monitoring.actions.page_reports import BY, LONGEST_NAME, Report
from monitoring.models import ErrorSeverity, Metric
from portal import jobs, permissions
from portal.errors import Invalid
from portal.models import ApiKey, Environment, Service

SOURCE = "browser"
MOST = 100  # measurements in one report
NOT_LOADED = "ResourceError"  # as the script calls a picture, a script or a style that did not come
FIELDS = frozenset({"service", "release", "flag", "variant", "touch", "measurements", "errors"})
ERROR_FIELDS = frozenset({"id", "page", "type", "message", "stack", "source", "age"})
MEASUREMENT_FIELDS = frozenset({"id", "page", "name", "value", "age"})


def take(report: Mapping[str, Any], *, browser: str, device: str, by: ApiKey, now: datetime | None = None) -> Recorded:
    """Keep all that is good of a report; name what is not. The same report again changes nothing.

    {"service"?,"release"?,"flag"?,"variant"?,"measurements":[{"id","page","name","value","age"?}],
    "errors":[{"id","page","type","message"?,"stack"?,"source"?,"age"?}]}: names as in `vitals.MEASURED`, values in
    seconds (of cls its own number), age in seconds. Raises Invalid and Forbidden where nothing of it can be placed.
    """
    permissions.require_scope(by, ApiKey.Scope.BROWSER)
    environment = page_reports.environment_of(by)
    service = _service(report.get("service"), environment, by=by)
    shared = {"service": service.key, "environment": environment.key, "browser": browser, "device": device}
    read = Report(service, environment, shared | _arm(report), now or jobs.database_now())
    for name in sorted(str(one) for one in report.keys() - FIELDS):
        read.faults.append(Fault(-1, name[:100].encode("ascii", "backslashreplace").decode(), "unknown field"))
    outcome = _measured(_listed(report, "measurements"), read)
    failed = page_errors.record(_listed(report, "errors"), read, _error, where="errors")
    outcome.accepted += failed.accepted
    outcome.duplicates += failed.duplicates
    outcome.errors = sorted([*read.faults, *outcome.errors, *failed.errors], key=lambda fault: fault.index)
    outcome.rejected = len(outcome.errors)
    return rejections.noted(SOURCE, outcome, by=by)


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
def _error(raw: object, report: Report) -> dict[str, Any]:
    if not isinstance(raw, dict):
        raise incoming.Wrong("", "must be an object")
    incoming.no_others(raw, ERROR_FIELDS)
    labels = report.labels_of(raw.get("page"))
    kind = raw.get("type")
    return {
        "type": kind,
        "message": raw.get("message"),
        "stack": raw.get("stack"),
        "url": raw.get("source"),
        # A picture that is missing stops nobody.
        "severity": ErrorSeverity.WARNING if kind == NOT_LOADED else ErrorSeverity.ERROR,
        "service": report.service.key,
        "environment": report.environment.key,
        "release": labels.get("release"),
        "time": report.at(raw.get("age")),
        "key": incoming.key(raw.get("id")),
        "labels": {name: labels[name] for name in page_errors.LABELS if name in labels},
    }


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
