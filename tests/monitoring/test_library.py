"""The library: every shipped definition makes sense, is taken over once, and what people change stays changed."""

import json
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from pytest_django.fixtures import Settings

from monitoring import conditions, vitals
from monitoring.actions import events, habits, library, thresholds
from monitoring.models import Metric, Sample, Threshold
from monitoring.queries import library as shelf
from portal import jobs
from portal.errors import Invalid
from portal.models import Environment, Service
from tests import make
from tests.make import BY
from tests.monitoring.doors import Caller
from tests.pages import seats

EVERY = list(shelf.definitions())
WANTED = """
response-time-p50 response-time-p95 response-time-p99 error-rate throughput uptime cpu memory disk queue-depth
cache-hit-rate render-time satisfaction security-violations failed-logins bundle-size page-load web-vitals-lcp
web-vitals-inp web-vitals-cls web-vitals-fcp web-vitals-ttfb
cost time-on-page click-rate task-completion support-tickets adoption conversion
active-users-weekly active-users-monthly retention funnel critical-errors
"""


def test_everything_that_was_promised_is_shipped() -> None:
    assert sorted(EVERY) == sorted(WANTED.split())


@pytest.mark.parametrize("key", EVERY)
def test_a_definition_is_whole_and_its_text_is_read(key: str) -> None:
    one = shelf.definitions()[key]
    said = conditions.read(one.condition, units={one.metric: one.unit})
    assert (said["metric"], said["denominator"] or "") == (one.metric, one.denominator)
    assert said["warning"] is not None
    assert len(one.advice) > 60
    assert one.group in shelf.groups()
    assert one.type in Metric.Type.values
    assert one.direction in Metric.Direction.values


@pytest.fixture
def place(db: None) -> tuple[Service, Environment]:
    return make.service("shop"), make.environment("staging")


def test_web_vitals_have_the_bounds_of_the_field(place: tuple[Service, Environment]) -> None:
    taken = library.take(*place, [f"web-vitals-{one.key}" for one in vitals.VITALS], by=BY)
    bounds = {one.threshold.metric: (one.threshold.warning, one.threshold.error) for one in taken}
    assert bounds == {one.metric: (one.good, one.poor) for one in vitals.VITALS}
    assert bounds["web_vitals_inp_seconds"] == (0.2, 0.5)


def test_all_of_it_is_taken_over_once_and_never_overwritten(place: tuple[Service, Environment]) -> None:
    first = library.take(*place, EVERY, by=BY)
    assert all(one.made for one in first)
    changed = thresholds.change(first[0].threshold, {"error": 9.0, "critical": 10.0}, by=BY, partly=True)
    again = library.take(*place, EVERY, by=BY)
    assert not any(one.made for one in again)
    assert Threshold.objects.count() == len(EVERY)
    changed.refresh_from_db()
    assert (changed.error, changed.version) == (9.0, 2)
    assert changed.runbook == shelf.definitions()[EVERY[0]].advice
    assert changed.matchers == {"service": "shop", "environment": "staging"}


def test_a_metric_that_is_known_keeps_its_unit(place: tuple[Service, Environment]) -> None:
    make.measured("system_cpu_utilization_ratio", 0.5, service="shop", environment="staging")
    Metric.objects.update(unit="cores")
    library.take(*place, ["cpu"], by=BY)
    assert Metric.objects.get(name="system_cpu_utilization_ratio").unit == "cores"


def test_what_is_not_on_the_shelf_is_named_and_nothing_is_made(place: tuple[Service, Environment]) -> None:
    with pytest.raises(Invalid, match="no definition nonsense"):
        library.take(*place, ["cpu", "nonsense"], by=BY)
    assert not Threshold.objects.exists()


def test_the_page_ticks_what_is_measured_and_takes_it_over(place: tuple[Service, Environment]) -> None:
    make.measured("system_cpu_utilization_ratio", 0.5, service="shop", environment="staging")
    captain = seats.captain()
    address = reverse("library") + "?service=shop&environment=staging"
    shown = captain.get(address).content.decode()
    assert 'id="take-cpu" checked' in shown
    assert 'id="take-memory">' in shown
    body = {"service": "shop", "environment": "staging", "keys": ["cpu", "memory"]}
    answer = captain.post(reverse("library-take"), body, follow=True).content.decode()
    assert "2 thresholds made." in answer
    assert 'id="take-cpu"' not in answer
    assert "What to do" in captain.get(reverse("threshold", args=[Threshold.objects.all()[0].pk])).content.decode()


def test_who_may_not_configure_takes_nothing_over(place: tuple[Service, Environment]) -> None:
    viewer: Client = seats.seat(make.person("vic", "viewer"))
    body = {"service": "shop", "environment": "staging", "keys": ["cpu"]}
    assert viewer.post(reverse("library-take"), body).status_code == 403
    assert Caller("read").post("library/take/", body)[0] == 403
    assert not Threshold.objects.exists()


def test_by_rest_and_on_the_command_line(
    place: tuple[Service, Environment], capsys: pytest.CaptureFixture[str]
) -> None:
    call = Caller("write")
    body = {"service": "shop", "environment": "staging", "keys": ["cpu"]}
    status, taken = call.post("library/take/", body)
    assert (status, [one["made"] for one in taken["taken"]]) == (200, [True])
    offers = {one["key"]: one for one in call.get("library/?service=shop&environment=staging")["offers"]}
    assert offers["cpu"]["threshold"] == taken["taken"][0]["threshold"]
    assert offers["memory"]["threshold"] is None
    assert call("GET", "library/?service=shop")[0] == 400
    assert call("GET", "library/?service=none&environment=staging")[0] == 404
    call_command("library", "cpu", "disk", service="shop", environment="staging")
    said = capsys.readouterr().out
    assert "kept cpu" in said
    assert "made disk" in said


@pytest.mark.django_db
def test_units_that_come_back_and_finish_are_counted_from_events(settings: Settings) -> None:
    settings.PORTAL_RAW_RETENTION_HOURS = 30 * 24  # events come no later than raw samples
    settings.PORTAL_FUNNELS = {"checkout": ["cart", "order"]}
    now = jobs.database_now()
    make.service("shop")
    make.environment("staging")

    def did(unit: str, name: str, days_ago: float) -> None:
        at = now - timedelta(days=days_ago)
        event = {"name": name, "unit": unit, "time": at.isoformat(), "environment": "staging", "service": "shop"}
        done = events.record([event], by=BY)
        assert done.accepted == 1, done

    for unit, name, days in (
        ("ann", "cart", 9), ("ann", "cart", 2), ("ann", "order", 1), ("bob", "cart", 10), ("cat", "order", 3),
        ("cat", "cart", 1), ("dan", "view", 20),
    ):  # fmt: skip
        did(unit, name, days)
    assert habits.measure(now=now) == 4
    assert habits.measure(now=now) == 0  # the same moment, the same samples
    found = {one.series.metric.name: one.value for one in Sample.objects.select_related("series__metric")}
    assert found == {
        "active_users_7d": 2.0, "active_users_30d": 4.0, "retention_7d_ratio": 0.5, "funnel_completion_ratio": 0.5,
    }  # fmt: skip


def test_the_file_is_plain_json() -> None:
    assert set(json.loads(shelf.DATA.read_text(encoding="utf-8"))) == {"groups", "definitions"}
