"""Who does what in an incident, how bad it is, and how fast it went."""

from datetime import timedelta
from typing import Any

import pytest

from monitoring.actions import incidents
from monitoring.models import Incident, OutboxMessage
from monitoring.queries.incident_figures import figures
from portal import audit, jobs
from portal.errors import Forbidden, Invalid, Refused
from tests import make
from tests.make import BY

pytestmark = pytest.mark.django_db


def opened(**fields: Any) -> Incident:
    return incidents.open_by_hand("cards are declined", by=BY, **fields)


@pytest.mark.parametrize("role", ["commander", "communications", "scribe"])
def test_a_role_is_given_told_and_taken_away(role: str) -> None:
    incident, dana = opened(), make.person("dana", email="dana@example.com")
    incidents.assign(incident, role, dana, by=BY, because="she knows it")
    assert getattr(incident, role) == dana
    assert OutboxMessage.objects.get().kind == "incident.assigned"
    incidents.assign(incident, role, dana, by=BY)
    incidents.assign(incident, role, None, by=BY)
    assert [entry.text for entry in incident.timeline.filter(kind="assigned")] == [
        f"{role.capitalize()}: dana: she knows it",
        f"{role.capitalize()}: nobody",
    ]
    assert audit.of(incident).filter(verb="incident.assigned").count() == 2


def test_a_role_that_there_is_not_or_a_person_who_left_is_refused_by_its_field() -> None:
    incident = opened()
    with pytest.raises(Invalid, match="commander"):
        incidents.assign(incident, "king", make.person("dana"), by=BY)
    with pytest.raises(Invalid, match="left"):
        incidents.assign(incident, "scribe", make.person("sam", is_active=False), by=BY)
    with pytest.raises(Forbidden):
        incidents.assign(incident, "scribe", None, by=make.person("vera", "viewer"))


def test_the_severity_is_changed_with_a_reason() -> None:
    incident = opened(severity="SEV3")
    with pytest.raises(Invalid, match="say why"):
        incidents.set_severity(incident, "SEV1", by=BY, because=" ")
    with pytest.raises(Invalid, match="SEV1"):
        incidents.set_severity(incident, "SEV9", by=BY, because="x")
    incidents.set_severity(incident, "SEV1", by=BY, because="everybody is hit")
    assert incident.severity == "SEV1"
    assert incident.timeline.last().text == "SEV3 is SEV1 now, says test: everybody is hit"  # type: ignore[union-attr]
    incidents.resolve(incident, by=BY)


def test_timestamps_never_run_backwards_when_the_databases_clock_does() -> None:
    """Invariant 19: each is at least as late as the one before."""
    incident = opened()
    ahead = jobs.database_now() + timedelta(hours=1)
    Incident.objects.filter(pk=incident.pk).update(opened_at=ahead)
    for verb in ("acknowledge", "mitigate", "resolve"):
        getattr(incidents, verb)(incident, by=BY)
    assert incident.acknowledged_at == incident.mitigated_at == incident.resolved_at == ahead


def test_mtta_mttm_and_mttr_are_counted_from_the_opening() -> None:
    now = jobs.database_now()
    shop, bank = make.service("shop"), make.service("bank")
    for service, minutes in ((shop, (1, 10, 20)), (shop, (3, None, 60)), (bank, (None, None, None))):
        incident, begun = opened(service=service), now - timedelta(days=1)
        names = ("answered_at", "mitigated_at", "resolved_at")
        times = {
            name: begun + timedelta(minutes=minute)
            for name, minute in zip(names, minutes, strict=True)
            if minute is not None
        }
        status = "resolved" if minutes[2] else "triggered"
        Incident.objects.filter(pk=incident.pk).update(opened_at=begun, status=status, **times)
    opened(service=shop)  # outside of the period
    rows = Incident.objects.all()
    period: Any = {"since": now - timedelta(days=2), "until": now}
    (whole,) = figures(rows, **period)
    assert (whole.count, whole.open) == (3, 1)
    assert (whole.mean_to_acknowledge, whole.mean_to_mitigate) == (timedelta(minutes=2), timedelta(minutes=10))
    assert (whole.mean_to_resolve, whole.median_to_resolve) == (timedelta(minutes=40), timedelta(minutes=40))
    by_service = {line.name: line for line in figures(rows, by="service", **period)}
    assert by_service["shop"].count == 2
    assert by_service["bank"].mean_to_acknowledge is None


def test_an_acknowledgement_that_lapsed_still_counts_as_the_first_answer() -> None:
    incident = opened()
    incidents.acknowledge(incident, by=BY)
    first = incident.answered_at
    Incident.objects.filter(pk=incident.pk).update(status="triggered", acknowledged_at=None)
    incidents.acknowledge(incident, by=BY)
    assert incident.answered_at == first != incident.acknowledged_at


def test_what_is_closed_has_its_roles_for_good() -> None:
    incident = opened(severity="SEV4")
    incidents.resolve(incident, by=BY)
    incidents.close(incident, by=BY)
    with pytest.raises(Refused, match="closed"):
        incidents.assign(incident, "scribe", make.person("dana"), by=BY)
