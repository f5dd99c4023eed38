"""What pages may watch of incidents, alerts, errors, thresholds and sources, and who."""

from typing import Any

from django.db.models import QuerySet

from monitoring.models import Alert, ErrorGroup, Incident, MetricSource, Silence, Slo, Threshold
from monitoring.views import source_charts
from portal import live, permissions
from portal.models import User


def _may_incident(person: User, what: str | None) -> bool:
    return _one(Incident.objects.all(), person, what)


def _may_alert(person: User, what: str | None) -> bool:
    return _one(Alert.objects.all(), person, what)


def _may_error(person: User, what: str | None) -> bool:
    return _one(ErrorGroup.objects.all(), person, what)


def _may_threshold(person: User, what: str | None) -> bool:
    return _one(Threshold.objects.all(), person, what)


def _may_silence(person: User, what: str | None) -> bool:
    return _one(Silence.objects.all(), person, what)


def _may_rota(person: User, what: str | None) -> bool:
    return permissions.can(person, "view", environment=permissions.ANY, service=permissions.ANY)


def _may_slo(person: User, what: str | None) -> bool:
    return _one(Slo.objects.all(), person, what)


def _may_outbox(person: User, what: str | None) -> bool:
    return permissions.can(person, "configure", environment=permissions.ANY, service=permissions.ANY)


def _may_source(person: User, what: str | None) -> bool:
    return _one(MetricSource.objects.all(), person, what)


def _source_frame(what: str) -> dict[str, Any]:
    return source_charts.tail(MetricSource.objects.get(pk=int(what)))


def _one(rows: "QuerySet[Any]", person: User, what: str | None) -> bool:
    """All of them, or the one with this id: only those who see anything, and see that one."""
    if not permissions.can(person, "view", environment=permissions.ANY, service=permissions.ANY):
        return False
    return what is None or permissions.visible(person, rows).filter(pk=int(what)).exists()


live.topic("incidents", may=_may_incident)
live.topic("alerts", may=_may_alert)
live.topic("errors", may=_may_error)
live.topic("thresholds", may=_may_threshold)
live.topic("silences", may=_may_silence)
live.topic("rotas", may=_may_rota)
live.topic("slos", may=_may_slo)
live.topic("outbox", may=_may_outbox)
live.topic("sources", may=_may_source)
live.chart("source", may=_may_source, frame=_source_frame)
