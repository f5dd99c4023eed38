"""What is turned away at the ways in is counted with its reason, for people to see."""

from datetime import timedelta

import pytest
from django.test import Client

from monitoring.actions import rejections
from monitoring.actions.batches import Fault
from monitoring.models import Rejection
from portal import jobs
from portal.audit import Automaton
from portal.models import ApiKey
from tests import make
from tests.monitoring.doors import Caller
from tests.monitoring.prometheus import request as write_request
from tests.monitoring.prometheus import series

pytestmark = pytest.mark.django_db
BY = Automaton("scraper")


def shown() -> dict[str, int]:
    return {f"{one.source} | {one.reason}": one.count for one in Rejection.objects.all()}


def test_the_same_mistake_is_one_reason_whatever_its_names() -> None:
    faults = [Fault(n, f"labels.team{n}", f"no service named 'shop-{n}'") for n in range(3)]
    rejections.note_faults("scrape: shop", [*faults, Fault(9, "value", "must be a finite number")], by=BY)
    rejections.note_faults("scrape: shop", faults[:1], by=BY)
    assert shown() == {
        "scrape: shop | labels: no service named '…'": 4,
        "scrape: shop | value: must be a finite number": 1,
    }
    example = Rejection.objects.get(count=4).example
    assert example == "labels.team0: no service named 'shop-0'"


def test_a_sender_of_many_reasons_does_not_fill_the_table() -> None:
    words = ["".join(chr(97 + int(digit)) for digit in str(n)) for n in range(300)]
    rejections.note_faults("otlp", [Fault(n, "", word) for n, word in enumerate(words)], by=BY)
    assert Rejection.objects.count() == rejections.MOST_REASONS + 1
    assert shown()["otlp | other reasons"] == 300 - rejections.MOST_REASONS


def test_what_is_older_than_a_week_goes() -> None:
    now = jobs.database_now()
    rejections.note("otlp", "too large", by=BY, now=now - timedelta(days=7, minutes=2))
    rejections.note("otlp", "too large", by=BY, now=now)
    assert rejections.forget_old(now=now) == 1
    assert Rejection.objects.count() == 1


def test_bytes_that_the_store_cannot_keep_are_noted_all_the_same() -> None:
    rejections.note("otlp", "not \0 JSON", by=BY, example="\ud800")
    assert Rejection.objects.get().reason == "not � JSON"


# --- At the doors -------------------------------------------------------------------------------
def test_rejected_samples_are_seen_with_their_sender() -> None:
    send = Caller("ingest", environments=[make.environment("staging")])
    assert send.post("samples/", {"samples": [{"metric": "a", "value": 1}, {"metric": "a", "value": "x"}]})[0] == 400
    assert send.post("samples/", {"sample": []})[0] == 400
    assert shown() == {
        "samples | value: must be a number": 1,
        "samples | request refused (N): sample: unknown field": 1,
    }
    one = Rejection.objects.first()
    assert one is not None
    assert one.environment == make.environment("staging")
    assert ApiKey.objects.get().name in one.sender


def test_remote_write_says_what_it_did_not_take() -> None:
    key = make.key("ingest")
    headers = {"Authorization": f"Bearer {key}", "Content-Encoding": "snappy"}
    now = int(jobs.database_now().timestamp() * 1000)
    body = write_request(series({"job": "x"}, (now, 1.0)), series({"__name__": "up"}, (now + 999_000, 1.0)))
    kind = "application/x-protobuf"
    path = "/ingest/prometheus/api/v1/write"
    assert Client().post(path, body, content_type=kind, headers=headers).status_code == 400
    assert Client().post(path, b"\xff" * 12, content_type=kind, headers=headers).status_code == 400
    assert shown() == {
        "remote_write | metric: the label __name__ is missing": 1,
        "remote_write | time: is more than N s ahead of the server's clock": 1,
        "remote_write | request refused (N): a number has no end": 1,
    }


def test_strangers_and_throttled_callers_write_no_rows() -> None:
    assert Client().post("/api/v1/samples/", b"{}", content_type="application/json").status_code == 401
    assert not Rejection.objects.exists()


def test_rejections_are_read_by_those_who_may_see_the_environment() -> None:
    for name in ("staging", "qa"):
        Caller("ingest", environments=[make.environment(name)]).post("samples/", {})
    assert Caller("read").get("rejections/")["count"] == 2
    found = Caller("read", environments=[make.environment("qa")]).get("rejections/")["results"]
    assert [one["environment"] for one in found] == ["qa"]
    assert Caller("read").get("rejections/?environment=staging&source=samples")["count"] == 1


# --- On the page --------------------------------------------------------------------------------
def test_the_page_sums_the_minutes_of_a_reason(client: Client) -> None:
    now = jobs.database_now()
    for minutes, count in ((0, 3), (1, 4), (90, 5)):
        rejections.note("otlp", "labels: too many", by=BY, count=count, now=now - timedelta(minutes=minutes))
    client.force_login(make.person("vera", "viewer"))
    page = client.get("/rejections/").content.decode()
    assert '<td data-name="How many" class="num">7</td>' in page
    assert '<td data-name="How many" class="num">12</td>' in client.get("/rejections/?show=day").content.decode()
    assert "Nothing was turned away" in client.get("/rejections/?source=scrape").content.decode()
