"""Metrics and series in the admin: forms that call actions, lists that cost the same for 2 rows and 12."""

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from monitoring.actions import metrics
from monitoring.models import Metric
from portal import audit
from portal.audit import Automaton
from portal.models import Environment, Service, User

pytestmark = pytest.mark.django_db
BY = Automaton("test")


@pytest.fixture
def admin_pages() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("ada", password="x"))
    return client


@pytest.mark.parametrize("noun", ["metric", "series"])
def test_a_list_costs_the_same_for_two_rows_and_twelve(admin_pages: Client, noun: str) -> None:
    Service.objects.create(key="shop")
    Environment.objects.create(key="staging")

    def cost(rows: int) -> int:
        labels = {"service": "shop", "environment": "staging"}
        batch = [{"metric": f"m{n}", "value": 1, "labels": labels | {"n": str(n)}} for n in range(rows)]
        metrics.record(batch, by=BY)
        with CaptureQueriesContext(connection) as seen:
            page = admin_pages.get(f"/admin/monitoring/{noun}/")
        assert page.status_code == 200
        assert f"m{rows - 1}" in page.content.decode()
        return len(seen)

    assert cost(2) == cost(12)


def test_a_metric_is_defined_and_changed_by_the_actions(admin_pages: Client) -> None:
    fields = {"name": "load", "type": "gauge", "unit": "1", "direction": "lower_is_better", "description": ""}
    assert admin_pages.post("/admin/monitoring/metric/add/", fields).status_code == 302
    metric = Metric.objects.get(name="load")
    path = f"/admin/monitoring/metric/{metric.pk}/change/"
    assert admin_pages.post(path, fields | {"unit": "jobs"}).status_code == 302
    assert [(entry.verb, entry.actor) for entry in audit.of(metric)] == [
        ("metric.changed", "ada"),
        ("metric.defined", "ada"),
    ]


def test_what_the_action_refuses_stands_on_the_page(admin_pages: Client) -> None:
    metrics.record([{"metric": "load", "value": 1}], by=BY)
    metric = Metric.objects.get(name="load")
    fields = {"type": "counter", "unit": "", "direction": "neither", "description": ""}
    page = admin_pages.post(f"/admin/monitoring/metric/{metric.pk}/change/", fields)
    assert "it stays a gauge" in page.content.decode()
    assert Metric.objects.get(name="load").type == "gauge"


def test_series_are_shown_and_never_edited(admin_pages: Client) -> None:
    metrics.record([{"metric": "load", "value": 1, "labels": {"host": "a"}}], by=BY)
    assert "host" in admin_pages.get("/admin/monitoring/series/").content.decode()
    assert admin_pages.get("/admin/monitoring/series/add/").status_code == 403
