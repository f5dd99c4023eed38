"""What broke in public pages: kept as errors of their service, within bounds, for anybody may make errors up."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, TypeVar

from django.conf import settings

from monitoring.actions import errors, incoming
from monitoring.actions.batches import Fault, Recorded
from monitoring.actions.error_reports import Reader
from monitoring.actions.page_reports import BY, Report
from monitoring.models import ErrorGroup

T = TypeVar("T")
MOST = 20  # in one report
BEYOND = "Other errors of browsers"
DAY = timedelta(days=1)
LONGEST_MESSAGE, LONGEST_STACK = 1_000, 4_000  # characters; the script cuts a little shorter
# Which of a report's labels an occurrence keeps: the others are fields of its own.
LABELS = ("page", "browser", "device", "flag", "variant")


def record(
    given: Sequence[T], report: Report, read: Callable[[T, Report], dict[str, Any]], *, where: str = ""
) -> Recorded:
    """Keep them, each as `read` has it in the terms of `errors.record`, which checks the texts.

    What cannot be read is among the faults of the report, by its place; `where` is the field that held it.
    """
    if len(given) > MOST:
        report.faults += [Fault(n, where, f"at most {MOST} errors in one report") for n in range(MOST, len(given))]
    batch, places = [], []
    for place, raw in enumerate(given[:MOST]):
        try:
            one = read(raw, report)
            report.take_place(errors.METRIC, one["time"])
            batch.append(_cut(one))
            places.append(place)
        except incoming.Wrong as wrong:
            report.faults.append(Fault(place, _field(where, wrong.field), wrong.message))
    if not batch:
        return Recorded()
    bounds = errors.Bounds(settings.PORTAL_BROWSER_ERRORS, report.may_keep)
    outcome = errors.record(_bounded(batch, report), by=BY, now=report.now, bounds=bounds)
    outcome.errors = [Fault(places[one.index], _field(where, one.field), one.message) for one in outcome.errors]
    return outcome


def _field(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _cut(one: dict[str, Any]) -> dict[str, Any]:
    for name, most in (("message", LONGEST_MESSAGE), ("stack", LONGEST_STACK)):
        if isinstance(one[name], str):
            one[name] = one[name][:most]
    return one


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
