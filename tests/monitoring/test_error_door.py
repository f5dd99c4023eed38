"""The REST door of errors: what is taken, what is shown to whom, and what may be said of a group."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from monitoring.actions import error_groups, errors
from monitoring.models import ErrorGroup, ErrorOccurrence, Rejection
from portal import jobs
from tests import make
from tests.make import BY
from tests.monitoring.doors import Caller, fields

pytestmark = pytest.mark.django_db
ONE = {"type": "KeyError", "message": "'price'", "service": "shop", "environment": "staging", "key": "a"}


@pytest.fixture(autouse=True)
def places() -> None:
    make.service("shop")
    make.environment("staging")


def kept(**told: Any) -> ErrorGroup:
    done = errors.record([ONE | {"key": None} | told], by=BY)
    assert done.accepted == 1, done
    return ErrorGroup.objects.latest("id")


def test_a_batch_and_a_single_report_are_taken_once() -> None:
    sends = Caller("ingest")
    answer = {"accepted": 2, "duplicates": 0, "conflicts": 0, "rejected": 0, "errors": []}
    assert sends.post("errors/", {"errors": [ONE, ONE | {"key": "b"}]}) == (200, answer)
    assert sends.post("errors/", ONE) == (200, answer | {"accepted": 0, "duplicates": 1})
    assert sends.post("errors/", ONE | {"key": "c"})[1]["accepted"] == 1
    assert ErrorGroup.objects.get().count == 3


def test_what_is_rejected_is_named_and_seen_among_the_rejections() -> None:
    sends = Caller("ingest")
    status, body = sends.post("errors/", {"errors": [ONE, ONE | {"severity": "awful"}, 7]})
    assert (status, body["accepted"], body["rejected"]) == (400, 1, 2)
    assert [(one["index"], one["field"]) for one in body["errors"]] == [(1, "severity"), (2, "")]
    assert set(Rejection.objects.values_list("source", "count")) == {("errors", 1)}
    bodies: tuple[Any, ...] = ({"errors": 7}, {"errors": [ONE], "more": 1}, [], "x")
    for bad in bodies:
        assert sends.post("errors/", bad)[0] == 400
    assert fields(sends.post("errors/", {"type": "E"})[1]) == {"environment"}
    assert sends.post("errors/", {"errors": [ONE] * 10_001})[0] == 413
    assert ErrorOccurrence.objects.count() == 1


def test_who_may_send_and_who_may_read() -> None:
    assert Caller("read").post("errors/", ONE)[0] == 403
    assert Caller("write").post("errors/", ONE)[0] == 403
    bound = Caller("ingest", environments=[make.environment("lab")])
    assert bound.post("errors/", ONE)[0] == 403
    assert bound("GET", "errors/")[0] == 403
    pk = kept().pk
    assert Caller("read").get("errors/")["count"] == 1
    elsewhere = Caller("read", "write", environments=[make.environment("lab")])
    assert elsewhere.get("errors/")["count"] == 0
    assert elsewhere("GET", f"errors/{pk}/")[0] == 404
    assert elsewhere.post(f"errors/{pk}/resolve/", {})[0] == 404
    assert Caller("read").post(f"errors/{pk}/resolve/", {})[0] == 403
    assert Caller("ingest").post(f"errors/{pk}/resolve/", {})[0] == 403
    assert ErrorGroup.objects.get().status == "open"


def test_groups_are_chosen_by_what_is_asked() -> None:
    make.service("bank")
    make.environment("lab")
    first = kept(release="1.0", severity="warning")
    kept(type="Timeout", service="bank", severity="critical", release="2.0")
    kept(type="ValueError", environment="lab", frames=[{"function": "total", "file": "cart.py"}])
    error_groups.resolve(first, by=BY)
    reads = Caller("read")

    def types(query: str) -> list[str]:
        return [one["type"] for one in reads.get(f"errors/?{query}")["results"]]

    assert types("") == ["ValueError", "Timeout", "KeyError"]
    for query in ("service=bank", "severity=critical", "release=2.0", "text=time"):
        assert types(query) == ["Timeout"], query
    assert types("environment=lab") == types("text=cart") == ["ValueError"]
    assert types("status=resolved") == ["KeyError"]
    assert types("regressed=true") == types("assignee=olga") == []
    assert types("page_size=1&page=2") == ["Timeout"]
    assert reads("GET", "errors/?status=odd")[0] == 400
    assert reads("GET", "errors/?text=%00")[0] == 400


def test_a_group_has_its_hours_releases_and_latest_occurrences() -> None:
    now = jobs.database_now()
    for n in range(25):
        kept(key=f"k{n}", release=f"1.{n % 2}", unit=f"u{n}", time=(now - timedelta(hours=n)).isoformat())
    shown = Caller("read").get(f"errors/{ErrorGroup.objects.get().pk}/")
    assert (shown["count"], shown["users"], shown["service"], shown["status"]) == (25, 25, "shop", "open")
    assert len(shown["hours"]) == 7 * 24 + 1
    assert sum(hour["count"] for hour in shown["hours"]) == 25
    assert {one["release"]: one["count"] for one in shown["releases"]} == {"1.0": 13, "1.1": 12}
    assert [one["key"] for one in shown["occurrences"]] == [f"k{n}" for n in range(20)]


def test_what_people_say_of_a_group() -> None:
    pk, says = kept().pk, Caller("write")
    make.person("olga", "operator")
    status, body = says.post(f"errors/{pk}/resolve/", {"because": "mended in 1.1"})
    assert (status, body["status"], body["status_because"]) == (200, "resolved", "mended in 1.1")
    assert says.post(f"errors/{pk}/resolve/", {})[1]["status_because"] == "mended in 1.1"
    assert fields(says.post(f"errors/{pk}/ignore/", {})[1]) == {"because"}
    assert says.post(f"errors/{pk}/ignore/", {"because": "a robot"})[1]["status"] == "ignored"
    assert says.post(f"errors/{pk}/reopen/", {})[1]["status"] == "open"
    assert says.post(f"errors/{pk}/assign/", {"person": "olga"})[1]["assignee"] == "olga"
    assert says.post(f"errors/{pk}/assign/", {"person": None})[1]["assignee"] is None
    assert fields(says.post(f"errors/{pk}/assign/", {"person": "nobody"})[1]) == {"person"}
    assert says.post("errors/999999/resolve/", {})[0] == 404


def test_a_page_of_groups_costs_the_same_for_two_and_twenty() -> None:
    reads = Caller("read")

    def cost() -> int:
        with CaptureQueriesContext(connection) as queries:
            reads.get("errors/")
        return len(queries)

    def more(first: int, last: int) -> None:
        for n in range(first, last):
            kept(type=f"E{n}", release="1.0")

    more(0, 2)
    few = cost()
    more(2, 20)
    assert cost() == few
