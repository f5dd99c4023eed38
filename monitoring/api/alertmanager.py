"""The doors for alerts that others judge: Alertmanager's webhook, and what of an Alertmanager a Prometheus needs.

Below /ingest/alertmanager: a Prometheus that is told this path prefix takes us for its Alertmanager.
"""

import re
from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework.response import Response

from monitoring.actions import reported
from monitoring.actions.reported import Taken
from monitoring.actions.silences import LONGEST_PATTERN, NESTED
from monitoring.api.ingesting import Repeatable
from monitoring.models import Alert, ReportedAlert
from monitoring.sources import alertmanager
from monitoring.sources.alertmanager import Unreadable
from monitoring.suppressing import Matcher, all_match
from portal import permissions
from portal.drf import Door
from portal.errors import Invalid
from portal.problems import PROBLEM, problem_body

SHOWN_FAULTS = 20
MOST_SHOWN = 5000
MATCHER = re.compile(r"\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*(.*?)\s*\Z", re.DOTALL)
MOST_ALERTS = 10_000
YES = ("", "true", "1", "t", "T", "TRUE", "True")


class TooMuch(exceptions.APIException):
    status_code = 413


@extend_schema(exclude=True)  # its protocol is Alertmanager's
class Webhook(Repeatable, Door):
    """Version 4. 200 when all is taken; 400 when something is wrong, and the good alerts are taken nevertheless.

    An Alertmanager repeats after 5xx at once, and after 4xx with the group's next round.
    """

    source = reported.SOURCE
    scope = "ingest"

    def post(self, request: Request) -> Response:
        try:
            things = alertmanager.listed(request.data)
        except Unreadable as error:
            raise Invalid.of(error.field, error.message) from None
        _check_size(things)
        taken = reported.take(things, alertmanager.of_webhook, by=self.by, way="webhook")
        reported.note_truncated(alertmanager.truncated(request.data), by=self.by)
        return _answer(taken, len(things))


@extend_schema(exclude=True)  # its protocol is Alertmanager's
class AlertmanagerAlerts(Repeatable, Door):
    """What a Prometheus posts each minute while an alert fires, and what `amtool alert` reads."""

    source = reported.SOURCE
    scope = "ingest"

    def post(self, request: Request) -> Response:
        if not isinstance(request.data, list):
            raise Invalid.of("", "the body must be a list of alerts")
        _check_size(request.data)
        taken = reported.take(request.data, alertmanager.of_api, by=self.by, way="api")
        return _answer(taken, len(request.data))

    def get(self, request: Request) -> Response:
        """The alerts that are not over, by `filter` (matchers), `active` and `silenced`."""
        matchers = [_matcher(text) for text in request.GET.getlist("filter")]
        active, silenced = (request.GET.get(name, "") in YES for name in ("active", "silenced"))
        seen: QuerySet[ReportedAlert] = permissions.visible(self.by, ReportedAlert.objects.going_on())
        rows = [row for row in seen.order_by("-id")[:MOST_SHOWN] if all_match(matchers, row.labels)]
        held = dict(
            Alert.objects.held()
            .filter(group__in=[row.fingerprint for row in rows])
            .values_list("group", "held_because")
        )
        shown = [
            _shown(row, held.get(row.fingerprint, ""))
            for row in rows
            if (silenced if row.fingerprint in held else active)
        ]
        return Response(shown)


@extend_schema(exclude=True)
class AlertmanagerStatus(Door):
    """What clients ask an Alertmanager before anything else."""

    def get(self, request: Request) -> Response:
        return Response(
            {
                "cluster": {"status": "disabled", "peers": []},
                "versionInfo": dict.fromkeys(("branch", "buildDate", "buildUser", "goVersion", "revision"), "")
                | {"version": "flightdeck"},
                "config": {"original": ""},
                "uptime": "1970-01-01T00:00:00.000Z",
            }
        )


@extend_schema(exclude=True)
class Healthy(Door):
    """For whoever probes an Alertmanager; /health/ready says how the portal is."""

    authentication_classes = ()
    permission_classes = ()

    def get(self, request: Request) -> Response:
        return Response("OK")


def _check_size(things: Any) -> None:
    if len(things) > MOST_ALERTS:
        raise TooMuch(f"at most {MOST_ALERTS} alerts at once, not {len(things)}")


def _answer(taken: Taken, total: int) -> Response:
    if not taken.faults:
        return Response(status=200)
    first = taken.faults[0]
    where = f"{first.field}: " if first.field else ""
    detail = f"{len(taken.faults)} of {total} alerts rejected; alert {first.index}: {where}{first.message}"
    faults = [{"field": f"[{one.index}].{one.field}".rstrip("."), "message": one.message} for one in taken.faults]
    return Response(problem_body(400, detail, faults[:SHOWN_FAULTS]), status=400, content_type=PROBLEM)


def _matcher(text: str) -> Matcher:
    """As in `severity=~"critical|page"`; the quotes may be left out."""
    found = MATCHER.match(text[: LONGEST_PATTERN + 300])
    if found is None:
        raise Invalid.of("filter", f"is no matcher: {text[:100]}")
    name, operator, value = found.groups()
    if len(value) > 1 and value[0] == value[-1] == '"':
        value = value[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    is_regex = operator.endswith("~")
    if is_regex:
        try:
            re.compile(value)
        except (re.error, OverflowError, RecursionError) as error:
            raise Invalid.of("filter", f"is no pattern: {error}") from None
        if len(value) > LONGEST_PATTERN or NESTED.search(value):
            raise Invalid.of("filter", "is too long a pattern, or repeats a repetition")
    return Matcher(name, value, is_regex, not operator.startswith("!"))


def _shown(row: ReportedAlert, held: str) -> dict[str, Any]:
    is_mute = held.startswith(("silence ", "maintenance "))
    return {
        "labels": row.labels,
        "annotations": row.annotations,
        "startsAt": row.starts_at,
        "endsAt": row.ends_at or row.reported_at,
        "updatedAt": row.reported_at,
        "fingerprint": row.fingerprint[:16],
        "generatorURL": row.generator_url,
        "receivers": [{"name": "flightdeck"}],
        "status": {
            "state": "suppressed" if held else "active",
            "silencedBy": [held] if is_mute else [],
            "inhibitedBy": [held] if held and not is_mute else [],
        },
    }
