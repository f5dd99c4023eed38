"""Taking what the Sentry SDK of a public page sends: as what any browser says, by a key that everybody can read."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from monitoring.actions import incoming, page_errors, page_reports, rejections
from monitoring.actions import sentry as envelopes
from monitoring.actions.page_reports import LONGEST_NAME, Report
from monitoring.actions.sentry import SOURCE, Taken
from monitoring.models import ErrorSeverity
from monitoring.sources import sentry, sentry_pages
from monitoring.sources.sentry import Envelope
from portal import jobs, permissions
from portal.models import ApiKey

Event = tuple[Mapping[str, Any], str, float | None]  # with its id and age


def take(
    envelope: Envelope, project: int, *, browser: str, device: str, by: ApiKey, now: datetime | None = None
) -> Taken:
    """Take an envelope for the service of this number, in the key's environment, whatever the SDK says.

    Bounded as what the portal's own script reports, and together with that. No visitor makes an error critical, names
    who met it, or says when it happened but by how long ago.
    """
    permissions.require_scope(by, ApiKey.Scope.BROWSER)
    environment, service = page_reports.environment_of(by), envelopes.service_of(project, by)
    shared = {"service": service.key, "environment": environment.key, "browser": browser, "device": device}
    report = Report(service, environment, shared, now or jobs.database_now())
    ids = [sentry.id_of(event, envelope.header) for event in envelope.events]
    events: list[Event] = [
        (event, key, sentry_pages.age_of(event, envelope.header))
        for event, key in zip(envelope.events, ids, strict=True)
    ]
    outcome = page_errors.record(events, report, _error)
    outcome.errors = sorted([*report.faults, *outcome.errors], key=lambda fault: fault.index)
    outcome.rejected = len(outcome.errors)
    envelopes.note(envelope.dropped, sentry_pages.believed(envelope.lost), by=by)
    return Taken(ids, rejections.noted(SOURCE, outcome, by=by))


def _error(given: Event, report: Report) -> dict[str, Any]:
    event, key, age = given
    told = sentry_pages.report(event, key=key, service=report.service.key)
    labels = report.settled(**_named(event, told))
    critical = told["severity"] == ErrorSeverity.CRITICAL
    return {
        **{name: told[name] for name in ("key", "service", "type", "message", "stack", "frames", "url", "fingerprint")},
        "severity": ErrorSeverity.ERROR if critical else told["severity"],
        "environment": report.environment.key,
        "release": labels.get("release"),
        "time": report.at(age),
        "labels": _labels(told, labels, report),
    }


def _named(event: Mapping[str, Any], told: Mapping[str, Any]) -> dict[str, str]:
    """Page, release and arm, as far as they may be labels. An arm has both, flag and variant, as tags."""
    said = {"page": sentry_pages.page_of(event), "release": told.get("release", "")}
    arm = {name: told["labels"].get(name, "") for name in ("flag", "variant")}
    said |= arm if all(arm.values()) else {}
    return {name: value for name, value in said.items() if value and len(value) <= LONGEST_NAME}


def _labels(told: Mapping[str, Any], labels: Mapping[str, str], report: Report) -> dict[str, str]:
    """Ours first, then the tags. Its transaction is the page, and may hold what tells visitors apart."""
    kept = {name: labels[name] for name in page_errors.LABELS if name in labels}
    if told.get("environment", report.environment.key) != report.environment.key:
        kept["sdk_environment"] = told["environment"]
    hidden = {*page_errors.LABELS, *kept, "transaction", "server_name"}
    tags = [(name, value) for name, value in told["labels"].items() if name not in hidden]
    return kept | dict(tags[: incoming.MOST_LABELS - len(kept)])
