"""What users' browsers report: what is kept, under which labels, and what strangers with a public key cannot do."""

import gzip
import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, connections
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django.fixtures import Settings

from monitoring import vitals
from monitoring.actions import capping, errors, page_reports
from monitoring.api import public_keys as door
from monitoring.models import ErrorGroup, ErrorOccurrence, Metric, Observation, Rejection, Sample, Series
from monitoring.queries.windows import Window, aggregates
from portal import jobs, keys
from portal.models import ApiKey
from tests import make
from tests.make import BY
from tests.monitoring import buckets

pytestmark = pytest.mark.django_db
SHOP = "https://shop.example.com"
DESKTOP = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/18.5 Mobile/15E148 Safari/604.1"
)


@pytest.fixture(autouse=True)
def patient(settings: Settings) -> Iterator[None]:
    """Each test begins with full buckets."""
    with buckets.full(settings):
        yield


@pytest.fixture
def key() -> str:
    return make.browser_key(SHOP, services=[make.service("shop")])


def figure(name: str = "lcp", value: Any = 1.5, **fields: Any) -> dict[str, Any]:
    return {"id": f"v1-{name}", "name": name, "value": value, "page": "/", **fields}


def send(
    key: str,
    body: Any,
    *,
    origin: str = SHOP,
    kind: str = "text/plain;charset=UTF-8",
    agent: str = DESKTOP,
    **given: str,
) -> Any:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Origin": origin, "User-Agent": agent, **given}
    return Client().post(
        f"/ingest/browser?key={key}",
        raw,
        content_type=kind,
        headers={name: value for name, value in headers.items() if value},
    )


def report(*figures: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"measurements": list(figures), **fields}


# --- What is kept -------------------------------------------------------------------------------
def test_each_figure_becomes_an_observation_of_its_metric(key: str) -> None:
    figures = [figure("lcp", 2.25), figure("inp", 0.08), figure("cls", 0.02), figure("fcp", 0.9), figure("ttfb", 0.3)]
    sent = report(*figures, figure("load", 3.5), figure("render", 1.25), release="1.4.0", flag="new", variant="on")
    answer = send(key, sent)
    assert (answer.status_code, answer.content) == (204, b"")
    kept = {one.series.metric.name: one.value for one in Observation.objects.select_related("series__metric")}
    assert kept == {
        "web_vitals_lcp_seconds": 2.25,
        "web_vitals_inp_seconds": 0.08,
        "web_vitals_cls": 0.02,
        "web_vitals_fcp_seconds": 0.9,
        "web_vitals_ttfb_seconds": 0.3,
        "page_load_seconds": 3.5,
        "render_duration_seconds": 1.25,
    }
    assert Series.objects.values_list("labels", flat=True).distinct().get() == {
        "service": "shop", "environment": "staging", "release": "1.4.0", "flag": "new", "variant": "on",
        "page": "/", "browser": "chrome", "device": "desktop",
    }  # fmt: skip
    lcp = Metric.objects.get(name="web_vitals_lcp_seconds")
    assert (lcp.type, lcp.unit, lcp.direction) == ("histogram", "s", "lower_is_better")
    assert Metric.objects.get(name="web_vitals_cls").unit == ""


def test_the_same_report_twice_counts_once_whatever_time_has_passed(key: str) -> None:
    assert send(key, report(figure(age=1.0))).status_code == 204
    assert send(key, report(figure(age=31.0))).status_code == 204
    assert Observation.objects.count() == 1
    assert Sample.objects.get().histogram["count"] == 1  # type: ignore[index]


def test_percentiles_are_those_of_all_browsers_together(key: str) -> None:
    # 90 fast ones on desktops, 10 slow ones on phones: no mean of two percentiles gives the right one.
    for place in range(100):
        slow = place >= 90
        sent = report(figure("lcp", 8.0 if slow else 1 + place / 100, id=f"view-{place}"))
        assert send(key, sent, agent=IPHONE if slow else DESKTOP).status_code == 204
    assert Series.objects.count() == 2

    def percentile(percent: int) -> float | None:
        window = Window("web_vitals_lcp_seconds", f"p{percent}", 300, {"service": "shop"})
        return aggregates([window], now=jobs.database_now())[0][0].value

    assert percentile(75) == pytest.approx(1.75, rel=0.02)
    assert percentile(95) == pytest.approx(8.0, rel=0.02)


@pytest.mark.parametrize(
    ("age", "seconds"), [(30, 30), (0, 0), (-500, 0), (1e9, 3600), (1e300, 3600), (None, 0), ("soon", 0), (True, 0)]
)
def test_the_browsers_clock_is_never_believed(key: str, age: Any, seconds: int) -> None:
    before = jobs.database_now()
    assert send(key, report(figure(age=age))).status_code == 204
    told = Observation.objects.get().time + timedelta(seconds=seconds)
    assert before <= told <= jobs.database_now()


@pytest.mark.parametrize(
    ("page", "route"),
    [
        ("/orders/1234/items?coupon=x#top", "/orders/:id/items"),
        ("/u/anna@example.com", "/u/:id"),
        ("/v2/step-3", "/v2/step-3"),
        ("/f/0b54f2a6-7f5e-4a8e-9d6f-1f0e8f7c2b11/", "/f/:id/"),
        ("/t/eyJhbGciOiJIUzI1NiIsInR5", "/t/:id"),
        ("  The   checkout ", "The checkout"),
        ("/" + "long-word-" * 30, "/:id"),
    ],
)
def test_a_page_is_its_route(key: str, page: str, route: str) -> None:
    assert send(key, report(figure(page=page))).status_code == 204
    assert Series.objects.get().labels["page"] == route


@pytest.mark.parametrize(
    ("agent", "touch", "labels"),
    [
        (DESKTOP, 0, ("chrome", "desktop")),
        (IPHONE, 5, ("safari", "phone")),
        (DESKTOP.replace("Chrome/", "HeadlessChrome/"), 0, ("chrome", "desktop")),
        (f"{DESKTOP} Edg/140.0.0.0", 0, ("edge", "desktop")),
        (f"{DESKTOP} OPR/120.0.0.0", 0, ("opera", "desktop")),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) Version/18.5 Safari/605.1.15", 5, ("safari", "tablet")),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) Version/18.5 Safari/605.1.15", 0, ("safari", "desktop")),
        ("Mozilla/5.0 (Linux; Android 14; SM-X710) Chrome/140.0.0.0 Safari/537.36", 5, ("chrome", "tablet")),
        ("Mozilla/5.0 (Linux; Android 14) SamsungBrowser/28.0 Chrome/130 Mobile Safari/537", 5, ("samsung", "phone")),
        ("Mozilla/5.0 (Android 14; Mobile; rv:140.0) Gecko/140.0 Firefox/140.0", 5, ("firefox", "phone")),
        ("curl/8.0", 0, ("other", "desktop")),
        ("", 0, ("other", "desktop")),
    ],
)
def test_browser_and_device_are_a_handful_of_names(key: str, agent: str, touch: int, labels: Any) -> None:
    assert send(key, report(figure(), touch=touch), agent=agent).status_code == 204
    kept = Series.objects.get().labels
    assert (kept["browser"], kept["device"]) == labels


def test_two_reports_of_one_view_at_once_count_once(transactional_db: None) -> None:
    key = make.browser_key(SHOP, services=[make.service("shop")])
    statuses: list[int] = []

    def one() -> None:
        try:
            statuses.append(send(key, report(*(figure(name) for name in vitals.MEASURED))).status_code)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [204] * 4
    assert Observation.objects.count() == len(vitals.MEASURED)
    assert {one.histogram["count"] for one in Sample.objects.all()} == {1}  # type: ignore[index]


# --- What is not ----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("wrong", "field", "message"),
    [
        (figure("lcp", -0.1), "value", "lcp lies between 0 and 600 s"),
        (figure("lcp", 601), "value", "lcp lies between 0 and 600 s"),
        (figure("cls", 101), "value", "cls lies between 0 and 100"),
        (figure("lcp", "fast"), "value", "must be a number"),
        (figure("lcp", True), "value", "must be a number"),
        (figure("fid", 1), "name", "must be one of lcp, inp, cls, fcp, ttfb, load, render"),
        (figure(["lcp"], 1), "name", "must be one of"),  # type: ignore[arg-type]
        ({"name": "lcp", "value": 1, "page": "/"}, "id", "is required"),
        (figure(page=None), "page", "is required"),
        (figure(page=7), "page", "must be a string"),
        (figure(page="  "), "page", "may not be empty"),
        (figure(page="a\0b"), "page", "must be a string"),
        (figure(hue="red"), "hue", "unknown field"),
        (7, "", "must be an object"),
    ],
)
def test_what_is_wrong_is_named_and_what_is_good_beside_it_kept(key: str, wrong: Any, field: str, message: str) -> None:
    answer = send(key, report(wrong, figure("inp", 0.1)))
    assert answer.status_code == 400
    assert answer["Content-Type"] == "application/problem+json"
    body = answer.json()
    assert (body["accepted"], body["rejected"]) == (1, 1)
    fault = body["errors"][0]
    assert (fault["index"], fault["field"].replace("key", "id")) == (0, field)
    assert fault["message"].startswith(message)
    assert Observation.objects.get().value == 0.1
    noted = Rejection.objects.get()
    assert (noted.source, noted.count, noted.environment) == ("browser", 1, make.environment())


def test_a_newer_scripts_unknown_field_costs_nothing_else(key: str) -> None:
    answer = send(key, report(figure(), mood="fine"))
    assert (answer.status_code, answer.json()["accepted"]) == (400, 1)
    assert answer.json()["errors"] == [{"index": -1, "field": "mood", "message": "unknown field"}]


@pytest.mark.parametrize(
    ("body", "status", "detail"),
    [
        (b"", 400, "not JSON"),
        (b"{", 400, "not JSON"),
        (b"[" * 100_000, 413, "at most 65536 bytes"),
        (b"[" * 60_000, 400, "not JSON"),
        (b'{"measurements":[{"value":NaN}]}', 400, "not JSON"),
        (b"[]", 400, "must be a JSON object"),
        (b'{"measurements":{}}', 400, "measurements: must be a list"),
        (b'{"errors":"boom"}', 400, "errors: must be a list"),
        (b'{"service":"nowhere"}', 400, "no service named 'nowhere'"),
        (b'{"service":7}', 400, "service: must be a service's key"),
        (b'{"service":"a\\u0000b"}', 400, "service: must be a service's key"),
        (b'{"release":7}', 400, "release: must be a string"),
        (b'{"flag":"new"}', 400, "variant: an arm has both"),
        (b'{"variant":"on"}', 400, "flag: an arm has both"),
        (json.dumps({"release": "x" * 101}).encode(), 400, "at most 100 characters"),
    ],
)
def test_what_cannot_be_read_or_placed_is_refused_in_words(key: str, body: bytes, status: int, detail: str) -> None:
    answer = send(key, body)
    assert (answer.status_code, detail in answer.json()["detail"]) == (status, True), answer.content
    assert Rejection.objects.get().source == "browser"


def test_too_many_in_one_report_are_rejected_and_the_first_hundred_kept(key: str) -> None:
    answer = send(key, report(*(figure(id=f"v{n}") for n in range(103))))
    assert (answer.json()["accepted"], answer.json()["rejected"]) == (100, 3)


@pytest.mark.parametrize("kind", ["text/plain", "application/json", "application/json; charset=utf-8"])
def test_json_comes_as_text_or_as_json(key: str, kind: str) -> None:
    assert send(key, report(figure()), kind=kind).status_code == 204


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
def test_a_form_is_no_report(key: str, kind: str) -> None:
    assert send(key, report(figure()), kind=kind).status_code == 415


def test_a_packed_report_is_refused_unread(key: str) -> None:
    bomb = gzip.compress(b" " * 10_000_000)
    assert send(key, bomb, **{"Content-Encoding": "gzip"}).status_code == 415


# --- What broke -----------------------------------------------------------------------------------
def failure(id_: str = "v1-e1", **fields: Any) -> dict[str, Any]:
    stack = "TypeError: no price\n    at pay (https://shop.example.com/cart.js:12:7)"
    told = {"id": id_, "page": "/cart/1234", "type": "TypeError", "message": "no price", "stack": stack}
    return {**told, "source": "https://shop.example.com/cart.js:12:7", **fields}


def test_an_error_is_kept_in_its_group_with_page_browser_and_release(key: str) -> None:
    sent = {"release": "1.4.0", "flag": "new", "variant": "on", "errors": [failure(age=30), failure("v1-e2")]}
    for _ in range(2):
        assert send(key, sent).status_code == 204
    group = ErrorGroup.objects.get()
    assert (group.type, group.message, group.severity, group.count) == ("TypeError", "no price", "error", 2)
    assert (group.service.key, group.environment.key, group.first_release) == ("shop", "staging", "1.4.0")
    one = ErrorOccurrence.objects.earliest("time")
    assert one.url == "https://shop.example.com/cart.js:12:7"
    assert one.labels == {
        "page": "/cart/:id", "browser": "chrome", "device": "desktop", "flag": "new", "variant": "on"
    }  # fmt: skip
    assert timedelta(seconds=29) < ErrorOccurrence.objects.latest("time").time - one.time < timedelta(seconds=32)
    window = Window("reported_errors", "sum", 300, {"service": "shop", "release": "1.4.0"})
    assert aggregates([window], now=jobs.database_now())[0][0].value == 2


def test_what_did_not_load_is_a_warning(key: str) -> None:
    lost = failure(type="ResourceError", message="img not loaded", stack="")
    assert send(key, {"errors": [lost]}).status_code == 204
    assert ErrorGroup.objects.get().severity == "warning"


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (failure(id=None), "errors.key"),
        (failure(page=None), "errors.page"),
        (failure(type=None), "errors.type"),
        (failure(type=7), "errors.type"),
        (failure(type="x" * 201), "errors.type"),
        (failure(message={}), "errors.message"),
        (failure(hue=1), "errors.hue"),
        ("boom", "errors."),
    ],
)
def test_a_wrong_error_is_named_and_the_rest_kept(key: str, wrong: Any, field: str) -> None:
    answer = send(key, report(figure(), errors=[wrong, failure("good")]))
    assert (answer.status_code, answer.json()["accepted"]) == (400, 2)
    assert [(one["index"], one["field"]) for one in answer.json()["errors"]] == [(0, field)]


def test_errors_beyond_twenty_in_one_report_are_rejected(key: str) -> None:
    answer = send(key, {"errors": [failure(f"e{n}") for n in range(23)]})
    assert (answer.json()["accepted"], answer.json()["rejected"]) == (20, 3)


def test_errors_that_strangers_make_up_become_one_group_in_the_end(key: str, settings: Settings) -> None:
    settings.PORTAL_BROWSER_ERROR_GROUPS = 3
    names = ["Alpha", "Beta", "Gamma", "Delta", "Epsilon", "Alpha"]
    for place, name in enumerate(names):
        assert send(key, {"errors": [failure(f"e{place}", type=name, stack="")]}).status_code == 204
    counts = dict(ErrorGroup.objects.values_list("type", "count"))
    assert counts == {"Alpha": 2, "Beta": 1, "Gamma": 1, "Other errors of browsers": 2}


def test_of_one_error_so_many_an_hour_are_kept_and_the_others_counted(key: str, settings: Settings) -> None:
    settings.PORTAL_BROWSER_ERRORS = 3
    for turn in range(2):
        assert send(key, {"errors": [failure(f"e{turn}-{n}") for n in range(10)]}).status_code == 204
    assert ErrorOccurrence.objects.count() == 3
    group = ErrorGroup.objects.get()
    assert (group.count, sum(group.hours.values_list("count", flat=True))) == (20, 20)
    window = Window("reported_errors", "sum", 300, {"service": "shop"})
    assert aggregates([window], now=jobs.database_now())[0][0].value == 20
    assert Observation.objects.count() <= 3 + 2 * 2  # a report's others are one, or two where a bucket ends between
    # One that is kept counts once still, and another error has its own three.
    assert send(key, {"errors": [failure("e0-1"), failure("b", type="RangeError")]}).status_code == 204
    assert ErrorGroup.objects.get(type="TypeError").count == 20
    assert ErrorOccurrence.objects.count() == 4
    # An application's own are kept, however many there are.
    told = {"type": "TypeError", "service": "shop", "environment": "staging"}
    assert errors.record([told] * 5, by=BY).accepted == 5
    assert ErrorOccurrence.objects.count() == 9


def test_of_all_errors_together_so_many_an_hour_are_kept(
    key: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.PORTAL_BROWSER_ERRORS = 3
    monkeypatch.setattr(page_reports, "ERRORS_AT_ONCE", 2)
    for name in ("Alpha", "Beta", "Gamma", "Delta"):
        told = [failure(f"{name}{n}", type=name, stack="") for n in range(4)]
        assert send(key, {"errors": told}).status_code == 204
    kept = sorted(ErrorOccurrence.objects.values_list("group__type", flat=True))
    assert kept == ["Alpha"] * 3 + ["Beta"] * 3
    assert set(ErrorGroup.objects.values_list("count", flat=True)) == {4}
    bank = make.browser_key(SHOP, services=[make.service("bank")])
    assert send(bank, {"errors": [failure("b")]}).status_code == 204
    assert ErrorOccurrence.objects.filter(service__key="bank").count() == 1


def test_what_an_error_says_is_cut_as_the_script_would(key: str) -> None:
    assert send(key, {"errors": [failure(message="m" * 9_000, stack="s" * 30_000)]}).status_code == 204
    kept = ErrorOccurrence.objects.get()
    assert (len(kept.message), len(kept.stack)) == (1_000, 4_000)


def test_of_ten_seconds_so_many_are_kept_and_the_others_rejected_for_all_to_see(key: str, settings: Settings) -> None:
    settings.PORTAL_BROWSER_FIGURES = 5
    figures = [figure(id=f"v{n}", age=1_000) for n in range(8)] + [figure("inp", 0.1, age=1_000)]
    answer = send(key, report(*figures, errors=[failure(f"e{n}", age=1_000) for n in range(7)]))
    assert (answer.status_code, answer.json()["accepted"], answer.json()["rejected"]) == (400, 5 + 1 + 5, 3 + 2)
    assert "more than 5 of 'web_vitals_lcp_seconds' came within 10 s" in answer.json()["errors"][-1]["message"]
    assert (Observation.objects.filter(series__metric__name="web_vitals_lcp_seconds").count()) == 5
    assert sum(Rejection.objects.filter(source="browser").values_list("count", flat=True)) == 5
    # The next ten seconds have their own.
    assert send(key, report(figure(id="later", age=900))).status_code == 204


def test_reports_have_a_small_share_of_the_threads(key: str, settings: Settings) -> None:
    settings.PORTAL_BROWSER_IN_FLIGHT = 2
    door._places.cache_clear()
    places = door._places()
    held = [places.acquire(blocking=False) for _ in range(2)]
    answer = send(key, report(figure()))
    assert (held, answer.status_code, answer["Retry-After"]) == ([True, True], 503, "2")
    assert answer["Access-Control-Allow-Origin"] == SHOP
    places.release()
    # Each gives its place back, also when it is refused.
    for n in range(4):
        assert send(key, report(figure(id=f"v{n}"), service=7 if n % 2 else None)).status_code == (
            400 if n % 2 else 204
        )


# --- Names of strangers ---------------------------------------------------------------------------
def pages() -> set[str]:
    return {labels["page"] for labels in Series.objects.values_list("labels", flat=True)}


def test_pages_beyond_the_bound_are_measured_together(key: str, settings: Settings) -> None:
    settings.PORTAL_BROWSER_PAGES = 3
    for place in range(6):
        assert send(key, report(figure(id=f"v{place}", page=f"/{'abcdef'[place]}"))).status_code == 204
    assert pages() == {"/a", "/b", "/c", "other"}
    capping.forget_all()  # another process, or this one after a restart
    assert send(key, report(figure(id="w", page="/z"), figure(id="x", page="/a"))).status_code == 204
    assert pages() == {"/a", "/b", "/c", "other"}
    assert Observation.objects.filter(series__labels__page="other").count() == 4


def test_a_page_that_nobody_has_opened_for_a_week_makes_room(key: str, settings: Settings) -> None:
    settings.PORTAL_BROWSER_PAGES = 1
    send(key, report(figure(page="/old")))
    week = jobs.database_now() - timedelta(days=8)
    Series.objects.update(last_time=week, created_at=week)
    capping.forget_all()
    send(key, report(figure(page="/new")))
    assert pages() == {"/old", "/new"}


def test_releases_and_arms_that_strangers_make_up_are_bounded(key: str) -> None:
    for place in range(capping.MOST_RELEASES + 5):
        made_up = {"release": f"r{place}", "flag": "f", "variant": f"x{place}"}
        assert send(key, report(figure(id=f"v{place}"), **made_up)).status_code == 204
    labels = list(Series.objects.values_list("labels", flat=True))
    assert len({one["release"] for one in labels}) == capping.MOST_RELEASES + 1
    assert len({one["variant"] for one in labels}) == capping.MOST_ARMS + 1
    assert {one["flag"] for one in labels if one["variant"] == "other"} == {"other"}
    # One without an arm is still one without an arm.
    assert send(key, report(figure(id="plain"))).status_code == 204
    assert "flag" not in Series.objects.latest("id").labels


def test_beyond_so_many_sets_of_labels_only_release_and_arm_are_told_apart(key: str, settings: Settings) -> None:
    settings.PORTAL_BROWSER_SERIES = 2
    for place, page in enumerate("abc"):
        send(key, report(figure(id=f"v{place}", page=f"/{page}"), release="1", flag="f", variant="on"))
    last = Series.objects.latest("id").labels
    assert (last["page"], last["browser"], last["device"]) == ("other", "other", "other")
    assert (last["release"], last["flag"], last["variant"]) == ("1", "f", "on")


def test_browsers_never_fill_a_metric_for_the_next_service(key: str, settings: Settings) -> None:
    settings.PORTAL_MAX_SERIES = 24
    for place in range(30):
        told = {"release": f"r{place}"} if place % 2 else {}
        assert send(key, report(figure(id=f"v{place}", page=f"/{'abc'[place % 3]}{place}"), **told)).status_code == 204
    # A week later the names are forgotten, and count against the cap still.
    Series.objects.update(last_time=None, created_at=jobs.database_now() - timedelta(days=8))
    capping.forget_all()
    for place in range(30):
        assert send(key, report(figure(id=f"w{place}", page=f"/new/{place}"), release=f"n{place}")).status_code == 204
    assert 12 <= Series.objects.count() <= 12 + 2  # half of it, and what is `other` in all
    other = make.browser_key(SHOP, services=[make.service("bank")])
    for place in range(20):
        one = report(figure(id=f"x{place}", page=f"/{'abc'[place % 3]}{place}"), release="1")
        assert send(other, one).status_code == 204
    assert Series.objects.count() <= 24


def test_what_a_report_costs_does_not_grow_with_what_is_in_it(key: str) -> None:
    def cost(*figures: dict[str, Any]) -> int:
        with CaptureQueriesContext(connection) as queries:
            assert send(key, report(*figures)).status_code == 204
        return len(queries)

    cost(figure(id="first"))
    # Series that are known, and values that are new.
    one = cost(figure(id="second"))
    assert cost(*(figure(id=f"v{n}") for n in range(100))) == one <= 14


# --- Who may ----------------------------------------------------------------------------------
@pytest.mark.parametrize("origin", ["https://evil.example.com", "http://shop.example.com", "null", "", f"{SHOP}:8443"])
def test_pages_of_other_origins_are_refused_and_may_not_read_the_answer(key: str, origin: str) -> None:
    answer = send(key, report(figure()), origin=origin)
    assert answer.status_code == 403
    assert "Access-Control-Allow-Origin" not in answer
    assert not Observation.objects.exists()
    assert Rejection.objects.get().reason.startswith("request refused (N): ")


def test_a_page_of_its_origin_may_read_what_became_of_its_report(key: str) -> None:
    for body, status in ((report(figure()), 204), (b"{", 400)):
        answer = send(key, body)
        assert (answer.status_code, answer["Access-Control-Allow-Origin"]) == (status, SHOP)
        assert "Origin" in answer["Vary"]
        assert answer["Access-Control-Expose-Headers"] == "Retry-After"


def test_a_wildcard_is_for_the_sites_beneath_it() -> None:
    key = make.browser_key("https://*.preview.example.com", services=[make.service("shop")])
    assert send(key, report(figure()), origin="https://pr-7.preview.example.com").status_code == 204
    for origin in ("https://preview.example.com", "https://evilpreview.example.com", "https://.preview.example.com"):
        assert send(key, report(figure()), origin=origin).status_code == 403, origin


def ask(key: str, origin: str) -> Any:
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }
    return Client().options("/ingest/browser" + (f"?key={key}" if key else ""), headers=headers)


def test_a_browser_that_asks_first_is_told_what_it_may(key: str) -> None:
    for given in (key, ""):
        answer = ask(given, SHOP)
        assert answer.status_code == 204
        assert answer["Access-Control-Allow-Origin"] == SHOP
        assert answer["Access-Control-Allow-Methods"] == "POST"
        assert "content-type" in answer["Access-Control-Allow-Headers"]
        assert answer["Access-Control-Max-Age"] == "86400"
    for given, origin in ((key, "https://evil.example.com"), ("", "https://evil.example.com"), ("fd_x", SHOP)):
        answer = ask(given, origin)
        assert (answer.status_code, "Access-Control-Allow-Origin" in answer) == (403, False)


def test_without_a_key_or_with_an_ended_one_nothing_is_taken(key: str) -> None:
    assert send("", report(figure())).status_code == 401
    assert send("fd_unknown", report(figure())).status_code == 401
    keys.revoke(ApiKey.objects.get(), by=BY)
    assert send(key, report(figure())).status_code == 401


@pytest.mark.parametrize("scope", ["admin", "ingest", "read", "write"])
def test_a_secret_in_the_address_is_refused_and_said_to_be_one(scope: str) -> None:
    answer = send(make.key(scope), report(figure()))
    assert answer.status_code == 403
    assert "this one is a secret, revoke it" in answer.json()["detail"]


def test_an_ingest_key_in_the_header_does_not_speak_for_browsers() -> None:
    key = make.key("ingest", environments=[make.environment()])
    answer = Client().post(
        "/ingest/browser", b"{}", content_type="application/json", headers={"X-API-Key": key, "Origin": SHOP}
    )
    assert answer.status_code == 403


def test_a_key_reports_for_its_services_alone() -> None:
    make.service("search")
    key = make.browser_key(SHOP, services=[make.service("shop"), make.service("bank")])
    assert send(key, report(figure(), service="bank")).status_code == 204
    assert send(key, report(figure(), service="search")).status_code == 403
    answer = send(key, report(figure()))
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "service")


def test_a_public_key_opens_no_other_door(key: str) -> None:
    headers = {"Authorization": f"Bearer {key}"}
    for path in ("services", "metrics", "samples", "alerts", "incidents", "flags", "rejections", "audit", "releases"):
        assert Client().get(f"/api/v1/{path}/", headers=headers).status_code == 403, path
    bodies = {
        "/api/v1/samples/": {"samples": [{"metric": "m", "value": 1}]},
        "/api/v1/observations/": {"observations": []},
        "/api/v1/events/": {"events": []},
        "/api/v1/feedback/": {"service": "shop", "rating": 1},
        "/api/v1/services/": {"key": "mine"},
        "/api/v1/incidents/": {"title": "x"},
    }
    for path, body in bodies.items():
        answer = Client().post(path, json.dumps(body), content_type="application/json", headers=headers)
        assert answer.status_code == 403, path
    assert Client().post("/ingest/otlp/v1/metrics", b"", "application/x-protobuf", headers=headers).status_code == 403


# --- Limits -----------------------------------------------------------------------------------
def test_an_address_that_sends_too_often_waits_before_the_store_is_asked(key: str, settings: Settings) -> None:
    settings.PORTAL_BROWSER_RATE = 2
    door._addresses.cache_clear()
    statuses = [send(key, report(figure(id=f"v{n}"))).status_code for n in range(4)]
    assert statuses[:2] == [204, 204]
    assert 429 in statuses
    with CaptureQueriesContext(connection) as queries:
        answer = send("fd_made_up", report())
    assert (answer.status_code, answer["Retry-After"], len(queries)) == (429, "1", 0)
    assert not Rejection.objects.exists()


def test_a_key_that_is_used_too_often_waits_and_its_pages_are_told_so(key: str, settings: Settings) -> None:
    settings.PORTAL_BROWSER_KEY_RATE = 1
    door._keys.cache_clear()
    answers = [send(key, report(figure(id=f"v{n}"))) for n in range(3)]
    assert answers[0].status_code == 204
    assert (answers[-1].status_code, answers[-1]["Retry-After"]) == (429, "1")
    other = make.browser_key(SHOP, services=[make.service("shop")])
    assert send(other, report(figure(id="w"))).status_code == 204


def test_an_address_that_asks_too_often_waits_before_the_store_is_asked(key: str, settings: Settings) -> None:
    settings.PORTAL_BROWSER_RATE = 2
    door._addresses.cache_clear()
    statuses = [ask(key, SHOP).status_code for _ in range(4)]
    assert statuses[:2] == [204, 204]
    assert 429 in statuses
    for given in (key, ""):
        with CaptureQueriesContext(connection) as queries:
            answer = ask(given, SHOP)
        assert (answer.status_code, answer["Retry-After"], len(queries)) == (429, "1", 0)


def test_whose_pages_may_report_is_read_once_in_a_while(key: str) -> None:
    assert ask("", SHOP).status_code == 204
    with CaptureQueriesContext(connection) as queries:
        assert [ask("", SHOP).status_code for _ in range(5)] == [204] * 5
        assert ask("", "https://evil.example.com").status_code == 403
    assert not [one for one in queries if "apikey" in one["sql"]]


# --- The script -------------------------------------------------------------------------------
def test_the_script_is_small_and_kept_and_may_be_taken_from_anywhere() -> None:
    answer = Client().get("/ingest/browser.js", headers={"Accept-Encoding": "gzip, br"})
    assert answer.status_code == 200
    assert len(answer.content) < 3_300  # bytes on the wire
    plain = Client().get("/ingest/browser.js")
    assert len(plain.content) < 7_500
    assert gzip.decompress(answer.content) == plain.content
    assert plain["Content-Type"] == "text/javascript; charset=utf-8"
    assert plain["Access-Control-Allow-Origin"] == "*"
    assert plain["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert "max-age=86400" in plain["Cache-Control"]
    assert not plain.cookies
    assert plain["ETag"] != answer["ETag"]
    for known in (plain["ETag"], f"W/{plain['ETag']}", f'"x", {plain["ETag"]}'):
        again = Client().get("/ingest/browser.js", headers={"If-None-Match": known})
        assert (again.status_code, again.content, again["ETag"]) == (304, b"", plain["ETag"])
    assert Client().get("/ingest/browser.js", headers={"If-None-Match": '"old"'}).status_code == 200
    assert Client().post("/ingest/browser.js").status_code == 405


def test_the_script_asks_no_strict_policy_for_an_exception() -> None:
    text = Client().get("/ingest/browser.js").content.decode()
    assert not [
        word for word in ("eval(", "new Function", "document.write", "cookie", "Storage", "innerHTML") if word in text
    ]
