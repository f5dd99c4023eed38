"""The public status page says what was published, in Statuspage's shapes, and nothing of the inside."""

from datetime import timedelta
from typing import Any
from unittest.mock import patch

import pytest
from django.db import OperationalError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from monitoring.actions import incidents, statuspage
from monitoring.models import Incident, StatusComponent, StatusIncident
from monitoring.queries import statuspage as queries
from monitoring.views import statuspage as views
from portal import audit, jobs
from portal.errors import Forbidden, Invalid, Refused
from tests import make
from tests.make import BY

pytestmark = pytest.mark.django_db
DOCUMENTS = (
    "summary", "status", "components", "incidents", "incidents/unresolved", "scheduled-maintenances",
    "scheduled-maintenances/upcoming", "scheduled-maintenances/active",
)  # fmt: skip


def component(name: str = "Checkout", **fields: Any) -> StatusComponent:
    return statuspage.create_component({"name": name, **fields}, by=BY)


def get(name: str) -> Any:
    answer = Client().get(f"/status/api/v2/{name}.json")
    assert answer.status_code == 200
    return answer.json()


def test_without_anything_nobody_is_told_that_all_is_well() -> None:
    assert get("summary")["status"] == {"indicator": "none", "description": "Nothing is listed here yet"}
    component()
    assert get("summary")["status"] == {"indicator": "none", "description": "All Systems Operational"}
    for name in DOCUMENTS:
        assert set(get(name)["page"]) == {"id", "name", "url", "time_zone", "updated_at"}
    assert Client().get("/status/").status_code == 200
    assert Client().get("/status/api/v2/secrets.json").status_code == 404


def test_an_incident_is_told_from_its_beginning_to_its_end() -> None:
    shop = component()
    told = statuspage.publish("Cards are declined", "We look into it.", by=BY, impact="major", components=[shop])
    found = get("summary")
    assert found["status"]["indicator"] == "major"
    assert [(one["name"], one["status"]) for one in found["components"]] == [("Checkout", "partial_outage")]
    assert [one["body"] for one in found["incidents"][0]["incident_updates"]] == ["We look into it."]
    statuspage.update(told, "A fix is out.", status="monitoring", by=BY)
    assert get("incidents/unresolved")["incidents"][0]["monitoring_at"] is not None
    statuspage.update(told, "It is over.", status="resolved", by=BY)
    assert get("summary")["incidents"] == []
    assert [one["status"] for one in get("incidents")["incidents"][0]["incident_updates"]] == [
        "resolved", "monitoring", "investigating",
    ]  # fmt: skip
    assert "A fix is out." in Client().get("/status/").content.decode()
    assert "A fix is out." in Client().get(f"/status/incidents/{told.code}/").content.decode()
    with pytest.raises(Refused):
        statuspage.update(told, "again", by=BY)
    assert audit.of(told).count() == 3
    for form in ("rss", "atom"):
        assert "Cards are declined" in Client().get(f"/status/history.{form}").content.decode()


def test_a_component_follows_its_service_unless_a_person_says_otherwise() -> None:
    shop = component(service=make.service())
    incidents.open_by_hand("the secret inside", by=BY, severity="SEV1", service=make.service())
    assert get("components")["components"][0]["status"] == "major_outage"
    statuspage.set_status(shop, "operational", by=BY, because="nobody is hit")
    assert get("components")["components"][0]["status"] == "operational"
    for address in ("/status/", "/status/history.rss", "/status/api/v2/summary.json"):
        assert "secret" not in Client().get(address).content.decode()


def test_what_is_to_be_published_by_itself_is_once_and_ends_by_itself() -> None:
    component(service=make.service(), auto_publish=True)
    incident = incidents.open_by_hand("the secret inside", by=BY, severity="SEV1", service=make.service())
    assert (statuspage.keep(), statuspage.keep()) == (1, 0)
    told = StatusIncident.objects.get()
    assert (told.name, told.impact) == ("Trouble with Checkout", "critical")
    incidents.resolve(Incident.objects.get(pk=incident.pk), by=BY)
    assert (statuspage.keep(), statuspage.keep()) == (1, 0)
    told.refresh_from_db()
    assert told.status == "resolved"


def test_maintenance_begins_and_ends_by_the_clock() -> None:
    now = jobs.database_now()
    times: dict[str, Any] = {"scheduled_for": now + timedelta(hours=1), "scheduled_until": now + timedelta(hours=2)}
    told = statuspage.publish("New disks", "Soon.", by=BY, kind="maintenance", components=[component()], **times)
    assert get("scheduled-maintenances/upcoming")["scheduled_maintenances"][0]["status"] == "scheduled"
    assert statuspage.keep(now=now) == 0
    assert statuspage.keep(now=now + timedelta(minutes=61)) == 1
    assert get("summary")["status"]["indicator"] == "maintenance"
    assert statuspage.keep(now=now + timedelta(minutes=121)) == 1
    told.refresh_from_db()
    assert told.status == "completed"
    with pytest.raises(Invalid):
        statuspage.publish("x", "y", by=BY, kind="maintenance")


def test_an_outage_is_seen_in_the_bar_of_its_day() -> None:
    shop = component()
    told = statuspage.publish("x", "y", by=BY, impact="critical", components=[shop])
    now = jobs.database_now().replace(hour=12, minute=0)
    StatusIncident.objects.update(
        started_at=now - timedelta(days=3), resolved_at=now - timedelta(days=3, hours=-6), status="resolved"
    )
    days = queries.shot(now=now).components[0].days
    assert len(days) == queries.DAYS
    assert [(day.status, day.up) for day in days[-5:]] == [
        ("operational", 1.0), ("major_outage", 0.75), ("operational", 1.0), ("operational", 1.0), ("operational", 1.0),
    ]  # fmt: skip
    assert told.code.isalnum()


def test_who_has_it_already_is_told_so_and_it_costs_the_same_for_two_and_twelve() -> None:
    costs = []
    for rows in (2, 12):
        while StatusIncident.objects.count() < rows:
            number = StatusIncident.objects.count()
            statuspage.publish(f"i{number}", "y", by=BY, components=[component(f"c{number}")])
        with CaptureQueriesContext(connection) as seen:
            first = Client().get("/status/api/v2/status.json")
        costs.append(len(seen))
    assert costs[0] == costs[1] <= 6
    again = Client().get("/status/api/v2/status.json", headers={"If-None-Match": first["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_while_the_store_is_away_the_last_known_state_is_shown() -> None:
    component()
    before = get("components")
    with patch.object(queries, "shot", side_effect=OperationalError):
        assert get("components") == before
        views._last.clear()
        assert Client().get("/status/").status_code == 503


def test_only_those_who_may_operate_publish() -> None:
    with pytest.raises(Forbidden):
        statuspage.publish("x", "y", by=make.person("vic", "viewer"))
