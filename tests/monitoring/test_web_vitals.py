"""Web vitals as they are read: percentiles of all browsers together, and what they are worth by the field's bounds."""

import random
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from monitoring import vitals
from monitoring.actions import metrics, rollups
from monitoring.histogram import Histogram, merged
from monitoring.models import HourRollup, MinuteRollup, Sample, Series
from monitoring.queries import distributions, web_vitals
from monitoring.queries.web_vitals import Row
from monitoring.vitals import MEASURED, Rating, rate
from portal import jobs
from tests import make
from tests.make import BY
from tests.monitoring.doors import Caller

DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def places(db: None) -> None:
    make.service("shop")
    make.environment("staging")


def read(**options: Any) -> list[Row]:
    return web_vitals.rows(Series.objects.all(), span=options.pop("span", DAY), now=jobs.database_now(), **options)


def only(**options: Any) -> Row:
    found = read(**options)
    assert len(found) == 1
    return found[0]


# --- What a figure is worth -----------------------------------------------------------------------
@pytest.mark.parametrize(
    ("key", "value", "rating"),
    [
        ("lcp", 2.5, "good"), ("lcp", 2.51, "needs_improvement"), ("lcp", 4.0, "needs_improvement"),
        ("lcp", 4.1, "poor"),
        ("inp", 0.2, "good"), ("inp", 0.5, "needs_improvement"), ("inp", 0.51, "poor"),
        ("cls", 0.0, "good"), ("cls", 0.1, "good"), ("cls", 0.25, "needs_improvement"), ("cls", 0.26, "poor"),
        ("fcp", 1.8, "good"), ("fcp", 3.0, "needs_improvement"), ("fcp", 3.1, "poor"),
        ("ttfb", 0.8, "good"), ("ttfb", 1.8, "needs_improvement"), ("ttfb", 1.9, "poor"),
        ("lcp", None, "no_data"), ("load", 1.0, "no_data"),
    ],
)  # fmt: skip
def test_bounds_are_those_of_the_field(key: str, value: float | None, rating: str) -> None:
    assert rate(MEASURED[key], value, 100) == rating


def test_without_enough_views_nothing_is_good() -> None:
    assert rate(MEASURED["lcp"], 1.0, 0) == Rating.NO_DATA
    assert rate(MEASURED["lcp"], 1.0, vitals.ENOUGH - 1) == Rating.TOO_FEW
    assert rate(MEASURED["lcp"], 1.0, vitals.ENOUGH) == Rating.GOOD


# --- Merged where it lies ---------------------------------------------------------------------------
def test_a_merge_in_the_store_is_that_of_all_values_at_once() -> None:
    dice = random.Random(7)
    values: dict[str, list[float]] = {"a": [], "b": []}
    now = jobs.database_now()
    for view in range(120):
        group = "a" if view % 3 else "b"
        value = dice.choice([0.0, dice.lognormvariate(0, 1.5), -dice.random()])
        values[group].append(value)
        at = now - timedelta(minutes=dice.randrange(0, 600), seconds=dice.randrange(60))
        make.page_view(at=at, labels={"page": f"/{group}{view % 7}"}, lcp=value)
    for _ in range(3):
        rollups.roll_up()
    assert HourRollup.objects.exists()
    assert MinuteRollup.objects.exists()
    groups = {one.pk: one.labels["page"][1] for one in Series.objects.all()}
    found = distributions.together(groups, since=now - DAY, until=now + timedelta(seconds=1), now=now)
    for group, all_of_it in values.items():
        expected, whole = Histogram.of(all_of_it), found[group]
        assert isinstance(whole, Histogram)
        assert (whole.count, whole.zero) == (expected.count, expected.zero)
        assert (whole.positive, whole.negative) == (expected.positive, expected.negative)
        assert whole.sum == pytest.approx(expected.sum)
        assert (whole.low, whole.high) == (expected.low, expected.high)
        assert [whole.percentile(p) for p in (50, 75, 99)] == [expected.percentile(p) for p in (50, 75, 99)]


def test_what_others_send_with_bounds_of_their_own_and_as_single_numbers_counts_too() -> None:
    labels = {"service": "shop", "environment": "staging", "page": "/"}
    make.page_view(lcp=2.0)
    shape = {"count": 3, "sum": 9, "buckets": [[1, 1], [4, 1]], "min": 0.5, "max": 6}
    now = jobs.database_now()
    sent = [
        {"metric": "web_vitals_lcp_seconds", "value": shape, "labels": labels, "time": now - timedelta(minutes=30)},
        {"metric": "web_vitals_lcp_seconds", "value": 3.0, "labels": labels},
        {"metric": "web_vitals_lcp_seconds", "value": -1.0, "labels": {**labels, "page": "/b"}},
    ]
    assert metrics.record(sent, by=BY).accepted == 3
    lcp = only().figures[0]
    assert lcp.count == 6
    kept = [one for one in Sample.objects.all() if one.histogram]
    assert len(kept) == 2
    parts = merged([Histogram.of([2.0, 3.0, -1.0]), *distributions.together(
        {kept[0].series_id: 1, kept[1].series_id: 1}, since=now - DAY, until=now - timedelta(minutes=5), now=now
    ).values()])  # fmt: skip
    assert parts.count == 6
    assert lcp.value == parts.percentile(75)


# --- Rows -----------------------------------------------------------------------------------------
def test_rows_are_told_apart_by_page_browser_device_release_and_variant() -> None:
    for view in range(12):
        make.page_view(lcp=1.0, cls=0.0, labels={"page": "/a", "release": "1", "flag": "f", "variant": "on"})
        make.page_view(lcp=5.0, labels={"page": "/b", "browser": "safari", "device": "phone", "release": "2"})
        if view % 2:
            make.page_view(lcp=3.0, labels={"page": "/b"})
    whole = only()
    assert (whole.service, whole.environment, whole.name, whole.views) == ("shop", "staging", "", 30)
    lcp = whole.figures[0]
    assert (lcp.count, lcp.rating) == (30, "poor")
    assert lcp.value == pytest.approx(5.0, rel=0.01)
    assert [round(share, 3) for share in (lcp.good, lcp.needs_improvement, lcp.poor)] == [0.4, 0.2, 0.4]
    assert [one.rating for one in whole.figures[1:]] == ["no_data", "good", "no_data", "no_data"]

    def told(by: str, **options: Any) -> dict[str, tuple[int, str]]:
        return {row.name: (row.views, row.figures[0].rating) for row in read(by=by, **options)}

    assert told("page") == {"/b": (18, "poor"), "/a": (12, "good")}
    assert told("browser") == {"chrome": (18, "needs_improvement"), "safari": (12, "poor")}
    assert told("device") == {"desktop": (18, "needs_improvement"), "phone": (12, "poor")}
    assert told("release") == {"1": (12, "good"), "2": (12, "poor"), "": (6, "too_few")}
    assert told("variant") == {"": (18, "poor"), "f = on": (12, "good")}
    assert told("release", only={"page": "/b"}) == {"2": (12, "poor"), "": (6, "too_few")}


def test_only_the_span_that_is_asked_for_counts() -> None:
    make.page_view(lcp=9.0, at=jobs.database_now() - timedelta(hours=30))
    make.page_view(lcp=3.0, at=jobs.database_now() - timedelta(hours=3))
    make.page_view(lcp=1.0)
    counts = [only(span=span).views for span in (timedelta(hours=1), DAY, 2 * DAY)]
    assert counts == [1, 2, 3]


def test_what_names_no_service_or_environment_is_nobodys() -> None:
    metrics.record([{"metric": "web_vitals_cls", "value": 0.1}], by=BY)
    metrics.record([{"metric": "web_vitals_cls", "value": 0.1, "labels": {"service": "shop"}}], by=BY)
    assert read() == []


# --- By REST --------------------------------------------------------------------------------------
def test_rest_says_what_the_page_says() -> None:
    for _ in range(10):
        make.page_view(lcp=3.0, inp=0.1, labels={"page": "/cart"})
    make.page_view(lcp=1.0, labels={"page": "/"})
    ask = Caller("read")
    (row,) = ask.get("web-vitals/?service=shop")["results"]
    assert (row["service"], row["environment"], row["name"], row["views"]) == ("shop", "staging", "", 11)
    lcp = row["vitals"]["lcp"]
    assert lcp["p75"] == pytest.approx(3.0, rel=0.01)
    assert (lcp["count"], lcp["rating"], round(lcp["needs_improvement"], 2)) == (11, "needs_improvement", 0.91)
    assert row["vitals"]["ttfb"] == {
        "p75": None, "count": 0, "rating": "no_data", "good": 0.0, "needs_improvement": 0.0, "poor": 0.0
    }  # fmt: skip
    pages = ask.get("web-vitals/?service=shop&environment=staging&by=page")["results"]
    assert [(one["name"], one["vitals"]["inp"]["rating"]) for one in pages] == [("/cart", "good"), ("/", "no_data")]
    assert [one["name"] for one in ask.get("web-vitals/?by=device&path=/cart&page_size=1")["results"]] == ["desktop"]
    assert ask.get("web-vitals/?service=nowhere")["count"] == 0


@pytest.mark.parametrize(
    ("query", "field"), [("by=mood", "by"), ("hours=0", "hours"), ("hours=721", "hours"), ("path=%00", "path")]
)
def test_a_question_that_makes_no_sense_names_its_parameter(query: str, field: str) -> None:
    status, body = Caller("read")("GET", f"web-vitals/?{query}")
    assert (status, body["errors"][0]["field"]) == (400, field)


def test_each_sees_the_vitals_of_his_places_alone() -> None:
    make.service("bank")
    make.environment("qa")
    for service, environment in (("shop", "staging"), ("bank", "staging"), ("shop", "qa")):
        make.page_view(service, environment, lcp=1.0)

    def seen(**where: Any) -> set[tuple[str, str]]:
        found = Caller("read", **where).get("web-vitals/")["results"]
        return {(one["service"], one["environment"]) for one in found}

    assert seen() == {("shop", "staging"), ("bank", "staging"), ("shop", "qa")}
    assert seen(environments=[make.environment("qa")]) == {("shop", "qa")}
    assert seen(services=[make.service("bank")]) == {("bank", "staging")}
    assert Caller("ingest")("GET", "web-vitals/")[0] == 403


def test_the_number_of_queries_does_not_grow() -> None:
    def cost() -> int:
        with CaptureQueriesContext(connection) as queries:
            read(by="page")
        return len(queries)

    make.page_view(lcp=1.0)
    few = cost()
    for page in range(20):
        make.page_view(lcp=1.0, inp=0.1, cls=0.0, labels={"page": f"/{page}", "browser": "safari"})
    assert cost() == few <= 8


# --- On pages -------------------------------------------------------------------------------------
def test_the_page_shows_figures_with_their_worth_in_words(client: Client) -> None:
    for _ in range(10):
        make.page_view(lcp=2.0, inp=0.3, cls=0.31, labels={"page": "/cart", "release": "1.4.0"})
    make.page_view(ttfb=0.4, labels={"page": "/cart", "release": "1.5.0"})
    client.force_login(make.person("vera", "viewer"))
    listed = client.get("/browsers/").content.decode()
    assert 'href="/browsers/shop/staging/"' in listed
    assert "Needs improvement:" in listed
    detail = client.get("/browsers/shop/staging/?by=release").content.decode()
    for words in (
        "2.00\N{NO-BREAK SPACE}s",
        "300\N{NO-BREAK SPACE}ms",
        "0.31",
        "good up to 2.5\N{NO-BREAK SPACE}s",
        "Good",
        "Poor",
        "Too few",
        "No data",
        "1.5.0",
    ):
        assert words in detail, words
    assert "release=1.4.0" in detail
    alone = client.get("/browsers/shop/staging/?by=page&release=1.5.0").content.decode()
    assert "2.00\N{NO-BREAK SPACE}s" not in alone
    assert "Without release 1.5.0" in alone
    part = client.get("/browsers/shop/staging/", headers={"HX-Request": "true"}).content.decode()
    assert "<html" not in part
    assert client.get("/browsers/shop/staging/?by=mood").status_code == 404
    assert client.get("/browsers/shop/nowhere/").status_code == 404


def test_the_page_says_how_a_page_is_measured(client: Client) -> None:
    client.force_login(make.person("vera", "viewer"))
    assert "Measure a page" in client.get("/browsers/").content.decode()
    shown = client.get("/browsers/connect/?service=shop&environment=staging").content.decode()
    assert "--scope browser --environment staging --service shop --origin" in shown
    assert "/ingest/browser.js&quot;" in shown or "/ingest/browser.js" in shown
    assert "data-service=&quot;shop&quot;" in shown or 'data-service="shop"' in shown
    assert client.get("/browsers/connect/?service=nowhere").status_code == 404
