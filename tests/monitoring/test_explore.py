"""The pages that show metrics: every question stands in the address, and what makes no sense shows the usual."""

from typing import Any

import pytest
from django.db import connection
from django.test import Client, TestCase
from django.test.utils import CaptureQueriesContext

from monitoring.actions import metrics
from tests import make
from tests.make import BY
from tests.monitoring.watching import LABELS, place
from tests.pages import seats

pytestmark = pytest.mark.django_db
PAGE = "/explore/load/"


@pytest.fixture
def viewer() -> Client:
    """Two pods of checkout report their load, one of them three times as much."""
    place()
    with TestCase.captureOnCommitCallbacks(execute=True):
        for pod, factor in (("a", 1.0), ("b", 3.0)):
            for ago in (60, 120, 180):
                make.measured("load", factor * ago, ago=ago, **LABELS, pod=pod)  # type: ignore[arg-type]
    return seats.seat(make.person("vic", "viewer"))


def shown(client: Client, **asked: Any) -> dict[str, Any]:
    answer = client.get(PAGE, asked)
    assert answer.status_code == 200
    return dict(answer.context)


def test_the_list_says_what_is_measured(viewer: Client) -> None:
    text = viewer.get("/explore/").content.decode()
    assert 'href="/explore/load/"' in text
    assert "No metric here" in viewer.get("/explore/", {"search": "nothing like it"}).content.decode()
    assert "No metric here" in viewer.get("/explore/", {"type": "histogram"}).content.decode()


def test_all_series_together_or_by_a_label(viewer: Client) -> None:
    (line,) = shown(viewer, aggregation="max")["lines"]
    assert (line.name, line.size, line.highest) == ("load", 2, 540.0)
    a, b = shown(viewer, aggregation="max", by="pod")["lines"]
    assert (a.name, a.highest, b.name, b.highest) == ("a", 180.0, "b", 540.0)
    (none,) = shown(viewer, by="node")["lines"]
    assert none.name == "without node"


def test_it_is_narrowed_by_labels_and_says_when_nothing_carries_them(viewer: Client) -> None:
    (line,) = shown(viewer, aggregation="max", where="pod=a")["lines"]
    assert (line.size, line.highest) == (1, 180.0)
    assert "No series carries these labels" in viewer.get(PAGE, {"where": "pod=z"}).content.decode()
    assert viewer.get(PAGE, {"where": ["pod=a", "service=checkout", 'x="y"']}).context["chosen"].where == {
        "pod": "a", "service": "checkout", "x": "y",
    }  # fmt: skip


def test_the_same_by_rest_answers(viewer: Client) -> None:
    rest = shown(viewer, where=["pod=a", "service=checkout"])["rest"]
    answer = Client().get(rest, headers={"Authorization": f"Bearer {make.key('read')}"})
    assert answer.status_code == 200
    (line,) = answer.json()["series"]
    assert line["labels"]["pod"] == "a"
    assert sum(point[4] for point in line["points"]) == 3


def test_a_threshold_is_begun_with_what_is_shown(viewer: Client) -> None:
    captain = seats.captain()
    bound = captain.get(PAGE, {"where": "pod=a", "aggregation": "p95"}).context["bound"]
    assert "p95(load{pod=&quot;a&quot;}) &gt; " in captain.get(bound).content.decode()
    assert "Watch it" not in viewer.get(PAGE).content.decode()


@pytest.mark.parametrize(
    "asked",
    [{"aggregation": "rate"}, {"aggregation": "'"}, {"span": "century"}, {"where": "x"}, {"where": "=1"}],
)
def test_what_makes_no_sense_shows_the_usual(viewer: Client, asked: dict[str, str]) -> None:
    found = shown(viewer, **asked)
    assert (found["chosen"].aggregation, found["chosen"].span, found["chosen"].where) == ("mean", "", {})
    assert found["lines"]


def test_a_counter_is_shown_by_its_growth(viewer: Client) -> None:
    metrics.define("hits_total", type="counter", by=BY)
    with TestCase.captureOnCommitCallbacks(execute=True):
        for ago, value in ((180, 10.0), (120, 40.0), (60, 100.0)):
            make.measured("hits_total", value, ago=ago, **LABELS)  # type: ignore[arg-type]
    lines = viewer.get("/explore/hits_total/", {"aggregation": "increase"}).context["lines"]
    assert sum(value for _, value in lines[0].values) == 90.0


def test_who_may_not_see_the_series_does_not_find_the_metric(viewer: Client) -> None:
    elsewhere = seats.seat(make.person("eve", "viewer", environment=make.environment("lab")))
    assert elsewhere.get(PAGE).status_code == 404
    assert "load" not in elsewhere.get("/explore/").content.decode().split("<main")[1]
    assert viewer.get("/explore/nothing/").status_code == 404


def test_many_groups_cost_what_few_cost_and_are_cut(viewer: Client) -> None:
    def cost() -> int:
        with CaptureQueriesContext(connection) as queries:
            assert viewer.get(PAGE, {"by": "pod"}).status_code == 200
        return len(queries)

    few = cost()
    with TestCase.captureOnCommitCallbacks(execute=True):
        for n in range(10):
            make.measured("load", 1.0, ago=60, **LABELS, pod=f"c{n}")  # type: ignore[arg-type]
    assert cost() == few
    assert "The first 7 of 12 groups" in viewer.get(PAGE, {"by": "pod"}).content.decode()
