"""Monitoring coverage: what of a service nobody watches, and that what is unknown counts as a gap."""

from typing import Any

import pytest
from django.db import connection
from django.test import TestCase
from django.test.utils import CaptureQueriesContext

from monitoring.actions import coverage as saying
from monitoring.actions import judging, metrics, slos
from monitoring.coverage import Coverage, Signal, Standing, coverage
from monitoring.models import CoverageWaiver, Metric, Series, Slo, Threshold
from monitoring.queries.coverage import Covered, covered, signals
from monitoring.views import services
from portal import jobs
from portal.errors import Forbidden, Invalid, Refused
from portal.models import Environment, Service
from tests import make
from tests.make import BY
from tests.monitoring import watching
from tests.monitoring.doors import Caller
from tests.monitoring.watching import LABELS
from tests.pages import seats

TELLS = {"latency_ms": Signal.LATENCY, "requests": Signal.TRAFFIC, "errors": Signal.ERRORS}


def measure(metric: str, *values: float, service: str = "checkout", environment: str = "staging") -> None:
    with TestCase.captureOnCommitCallbacks(execute=True):
        make.measured(metric, *values, service=service, environment=environment)


def of(found: Coverage) -> dict[str, str]:
    return {item.metric or item.signal.value: item.standing.value for item in found.items}


# --- The judgement ------------------------------------------------------------------------------
def test_where_nothing_is_known_everything_is_missing_and_nothing_is_watched() -> None:
    found = coverage({}, measured=[], bounded={}, waived={})
    assert [item.standing for item in found.items] == [Standing.MISSING] * 5
    assert (found.watched, found.total, found.share) == (0, 5, 0.0)


def test_each_metric_is_watched_blind_or_unwatched_and_a_waiver_counts_no_more() -> None:
    found = coverage(
        TELLS,
        measured=["latency_ms", "requests", "other"],
        bounded={"latency_ms": True, "errors": False},
        waived={Signal.SATURATION: "it has no machine"},
    )
    assert of(found) == {
        "latency_ms": "watched", "requests": "unwatched", "errors": "blind", "saturation": "waived",
        "availability": "missing",
    }  # fmt: skip
    assert (found.watched, found.total) == (1, 4)
    assert [item.signal for item in found.gaps] == [Signal.TRAFFIC, Signal.ERRORS, Signal.AVAILABILITY]
    assert found.items[3].reason == "it has no machine"


def test_all_waived_leaves_no_share() -> None:
    assert coverage({}, measured=[], bounded={}, waived=dict.fromkeys(Signal, "no")).share is None


# --- What is known ------------------------------------------------------------------------------
@pytest.fixture
def shop(db: None) -> Service:
    """checkout in staging measures its requests and latency; a threshold is on the latency."""
    watching.place()
    watching.threshold("latency", metric="http_request_duration_seconds", aggregation="p95", error=1.0)
    metrics.define("http_request_duration_seconds", type="histogram", by=BY)
    for metric in ("http_request_duration_seconds", "http_requests_total"):
        measure(metric, 1.0, 2.0)
    judging.run()
    return Service.objects.get(key=LABELS["service"])


def look() -> list[Covered]:
    return covered(
        Service.objects.all(), Threshold.objects.all(), Slo.objects.all(), Series.objects.all(), now=jobs.database_now()
    )


def test_what_is_measured_bounded_and_judged_of_a_place(shop: Service) -> None:
    (found,) = look()
    assert (found.service, found.environment) == (shop, Environment.objects.get(key="staging"))
    assert of(found.coverage) == {
        "http_request_duration_seconds": "watched", "http_requests_total": "unwatched", "errors": "missing",
        "saturation": "missing", "availability": "missing",
    }  # fmt: skip


def test_a_bound_without_data_is_blind_and_one_for_every_place_counts_at_each(shop: Service) -> None:
    watching.threshold("up", metric="probe_success", matchers={}, operator="<", error=1.0)
    assert of(look()[0].coverage)["probe_success"] == "blind"
    measure("probe_success", 1.0)
    judging.run()
    assert of(look()[0].coverage)["probe_success"] == "watched"


def test_an_objective_watches_its_metric(shop: Service) -> None:
    spec = {"name": "up", "kind": "uptime", "metric": "probe_success", "objective": 99.0, "matchers": LABELS}
    slos.create("up", spec, by=BY)
    assert of(look()[0].coverage)["probe_success"] == "blind"
    Slo.objects.update(remaining=0.9)
    assert of(look()[0].coverage)["probe_success"] == "watched"


def test_a_service_of_which_nothing_is_known_is_the_least_covered(shop: Service) -> None:
    make.service("ghost")
    first = look()[0]
    assert (first.service.key, first.environment, first.coverage.watched) == ("ghost", None, 0)


def test_what_was_measured_long_ago_is_not_measured(shop: Service) -> None:
    Series.objects.filter(metric__name="http_requests_total").update(last_time="2020-01-01T00:00:00Z")
    assert "http_requests_total" not in of(look()[0].coverage)


def test_a_metric_is_given_a_signal_or_loses_its_own(shop: Service) -> None:
    metrics.change(Metric.objects.get(name="http_requests_total"), {"signal": "none"}, by=BY)
    measure("depth", 4.0)
    metrics.change(Metric.objects.get(name="depth"), {"signal": "saturation"}, by=BY)
    found = of(look()[0].coverage)
    assert ("http_requests_total" in found, found["depth"], found["traffic"]) == (False, "unwatched", "missing")
    assert signals()["depth"] is Signal.SATURATION
    with pytest.raises(Invalid) as refused:
        metrics.change(Metric.objects.get(name="depth"), {"signal": "loudness"}, by=BY)
    assert "signal" in refused.value.errors


def test_a_waiver_of_one_environment_is_of_that_one(shop: Service) -> None:
    staging = Environment.objects.get(key="staging")
    measure("http_requests_total", 1.0, service=shop.key, environment=make.environment("lab").key)
    made = saying.waive(shop, staging, "errors", by=BY, because="it has none")
    standing = {str(one.environment): of(one.coverage)["errors"] for one in look()}
    assert standing == {"staging": "waived", "lab": "missing"}
    with pytest.raises(Refused, match="waived already"):
        saying.waive(shop, staging, "errors", by=BY, because="again")
    saying.unwaive(made, by=BY)
    assert {of(one.coverage)["errors"] for one in look()} == {"missing"}
    saying.waive(shop, None, "errors", by=BY, because="nowhere")
    assert {of(one.coverage)["errors"] for one in look()} == {"waived"}


@pytest.mark.parametrize(("signal", "because", "field"), [("noise", "x", "signal"), ("errors", " ", "because")])
def test_what_is_wrong_of_a_waiver_is_named(shop: Service, signal: str, because: str, field: str) -> None:
    with pytest.raises(Invalid) as refused:
        saying.waive(shop, None, signal, by=BY, because=because)
    assert field in refused.value.errors


def test_who_may_not_configure_there_waives_nothing(shop: Service) -> None:
    captain = make.person("cap", "captain", environment=make.environment("lab"))
    for who in (captain, make.person("vic", "viewer")):
        with pytest.raises(Forbidden):
            saying.waive(shop, Environment.objects.get(key="staging"), "errors", by=who, because="I say so")
    assert not CoverageWaiver.objects.exists()


def test_a_look_costs_the_same_for_many_services(shop: Service) -> None:
    def cost() -> int:
        with CaptureQueriesContext(connection) as queries:
            look()
        return len(queries)

    few = cost()
    for n in range(10):
        service = make.service(f"other-{n}")
        measure("http_requests_total", 1.0, service=service.key)
        saying.waive(service, None, "errors", by=BY, because="none")
    assert cost() == few <= 8


# --- Doors --------------------------------------------------------------------------------------
def test_by_rest_a_key_sees_its_own_places_alone(shop: Service) -> None:
    measure("http_requests_total", 1.0, service=make.service("search").key)
    everything = Caller("read").get("coverage/")
    assert {one["service"] for one in everything["results"]} == {"checkout", "search"}
    own = Caller("read", services=[shop]).get("coverage/")
    assert [(one["service"], one["environment"], one["watched"], one["total"]) for one in own["results"]] == [
        ("checkout", "staging", 1, 5)
    ]
    assert Caller("read").get("coverage/?environment=lab")["results"] == []


def test_the_page_shows_the_gaps_and_waives_one(shop: Service) -> None:
    captain = seats.captain()
    text = captain.get("/services/checkout/").content.decode()
    assert "is measured, but has no threshold" in text
    assert "1 of 5" in text
    answer = captain.post(
        "/services/checkout/waive/", {"environment": "staging", "signal": "errors", "because": "none"}, follow=True
    )
    assert "1 of 4" in answer.content.decode()
    assert "0" not in captain.get("/services/?show=gaps").content.decode().split("With gaps")[1][:4]


def test_needs_you_names_what_is_not_watched_where_deployments_are_approved(shop: Service) -> None:
    captain = make.person("cara", "captain")
    assert services.gaps(captain).places == []
    Environment.objects.filter(key="staging").update(protected=True, approval_policy="four_eyes")
    assert services.gaps(captain).count == 4
    assert services.gaps(make.person("vic", "viewer")).places == []
    page = seats.seat(captain)
    assert "/parts/gaps/" in page.get("/").content.decode()
    assert "4 critical metrics are not watched" in page.get("/parts/gaps/").content.decode()


def test_a_service_that_nobody_watches_has_no_score(shop: Service) -> None:
    make.service("ghost")
    text: Any = seats.captain().get("/services/").content.decode()
    assert "unknown" in text
    assert "nothing is watched" in text
