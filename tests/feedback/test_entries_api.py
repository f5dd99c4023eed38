"""Feedback over REST, by the contract: what is taken, what is refused and how, who sees what."""

import threading
from typing import Any

import orjson
import pytest
from django.db import connection
from django.test import Client

from feedback import tasks
from feedback.models import Entry
from monitoring.models import Metric, Observation, Sample, Series
from portal import jobs, keys
from portal.audit import Automaton
from portal.models import Environment, Grant, Service, User

pytestmark = pytest.mark.django_db
BY = Automaton("test")
PATH = "/api/v1/feedback/"


@pytest.fixture(autouse=True)
def places() -> None:
    Service.objects.create(key="shop")
    Service.objects.create(key="bank")
    Environment.objects.create(key="staging")
    Environment.objects.create(key="production")


def key(*scopes: str, environments: list[str] | None = None, services: list[str] | None = None) -> str:
    return keys.create(
        "widget",
        scopes=scopes or ("feedback",),
        by=BY,
        environments=None if environments is None else Environment.objects.filter(key__in=environments),
        services=None if services is None else Service.objects.filter(key__in=services),
    )[1]


def post(body: Any, raw: str, **headers: str) -> Any:
    data = body if isinstance(body, bytes) else orjson.dumps(body)
    return Client().post(PATH, data, content_type="application/json", headers={"X-API-Key": raw} | headers)


def get(path: str, raw: str) -> Any:
    return Client().get(path, headers={"X-API-Key": raw})


# --- Taken --------------------------------------------------------------------------------------
def test_a_text_is_kept_and_judged_at_once() -> None:
    answer = post({"service": "shop", "text": "The new checkout is great, thank you!"}, key())
    assert answer.status_code == 201
    told = answer.json()
    entry = Entry.objects.get(pk=told["id"])
    assert told["sentiment"] == entry.sentiment == "positive"
    assert 0.5 < told["confidence"] <= 1
    assert told["engine"] == "lexicon-1"
    assert (told["kind"], told["rating"], told["priority"]) == ("other", None, "low")


def test_everything_that_was_said_is_read_back() -> None:
    said = {
        "service": "shop",
        "environment": "staging",
        "kind": "bug",
        "rating": 2,
        "text": "Nie działa płatność kartą",
        "unit": "user-7",
        "language": "pl-PL",
        "page": "https://shop.example/checkout?step=2",
        "labels": {"release": "2.4.0", "flag": "new-checkout", "variant": "on", "browser": "firefox"},
    }
    told = post(said | {"email": "ala@example.com"}, key("feedback", "read")).json()
    again = get(f"{PATH}{told['id']}/", key("read")).json()
    for shown in (told, again):
        assert {name: shown[name] for name in said} == said
    assert told["priority"] == "urgent"
    assert "payment" in told["priority_because"]
    entry = Entry.objects.get()
    assert (entry.release, entry.flag, entry.variant) == ("2.4.0", "new-checkout", "on")


def test_a_rating_alone_is_enough() -> None:
    told = post({"service": "shop", "rating": 1, "text": "  "}, key()).json()
    assert (told["sentiment"], told["engine"], told["priority"]) == ("negative", "rating-1", "high")


def test_a_language_that_is_not_known_is_said_to_be_so() -> None:
    told = post({"service": "shop", "text": "Sehr schön geworden", "language": "de"}, key()).json()
    assert told["sentiment"] is None
    assert told["confidence"] == 0


def test_html_is_kept_as_text() -> None:
    text = "<script>alert(1)</script> & <b>bold</b>"
    told = post({"service": "shop", "text": text}, key()).json()
    assert told["text"] == text


def test_the_environment_is_the_keys_own_when_it_has_exactly_one() -> None:
    assert post({"service": "shop", "rating": 5}, key(environments=["staging"])).json()["environment"] == "staging"
    assert post({"service": "shop", "rating": 5}, key()).json()["environment"] is None
    torn = post({"service": "shop", "rating": 5}, key(environments=["staging", "production"]))
    assert torn.status_code == 400
    assert torn.json()["errors"][0]["field"] == "environment"


def test_a_retry_with_its_idempotency_key_is_one_entry_and_one_rating() -> None:
    raw = key()
    first, again = (post({"service": "shop", "rating": 5}, raw, **{"Idempotency-Key": "k"}) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert Entry.objects.count() == Observation.objects.count() == 1


# --- Refused ------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"service": None}, "service"),
        ({"service": ""}, "service"),
        ({"service": "nowhere"}, "service"),
        ({"service": ["shop"]}, "service"),
        ({"service": 7}, "service"),
        ({"environment": "nowhere"}, "environment"),
        ({"environment": ""}, "environment"),
        ({"kind": "rant"}, "kind"),
        ({"rating": 0}, "rating"),
        ({"rating": 6}, "rating"),
        ({"rating": "5"}, "rating"),
        ({"rating": 4.5}, "rating"),
        ({"rating": 4.0}, "rating"),
        ({"rating": True}, "rating"),
        ({"rating": 10**18}, "rating"),
        ({"rating": None}, "rating"),
        ({"rating": None, "text": " \n"}, "rating"),
        ({"text": "x" * 10_001}, "text"),
        ({"text": "a\0b"}, "text"),
        ({"text": None}, "text"),
        ({"text": {"a": 1}}, "text"),
        ({"unit": "u" * 201}, "unit"),
        ({"email": "nobody"}, "email"),
        ({"email": f"{'a' * 300}@example.com"}, "email"),
        ({"language": "english please"}, "language"),
        ({"page": "p" * 2001}, "page"),
        ({"labels": []}, "labels"),
        ({"labels": {"release": 5}}, "labels.release"),
        ({"labels": {"release": ""}}, "labels.release"),
        ({"labels": {"bad name": "x"}}, "labels"),
        ({"labels": {"service": "bank"}}, "labels.service"),
        ({"labels": {"environment": "staging"}}, "labels.environment"),
        ({"labels": {f"l{n}": "x" for n in range(31)}}, "labels"),
        ({"sentiment": "positive"}, "sentiment"),
        ({"stars": 5}, "stars"),
    ],
)
def test_bad_input_is_400_and_names_the_field(change: dict[str, Any], field: str) -> None:
    answer = post({"service": "shop", "rating": 5} | change, key())
    assert answer.status_code == 400, answer.content
    assert field in {error["field"] for error in answer.json()["errors"]}
    assert not Entry.objects.exists()


@pytest.mark.parametrize("body", [b"", b"[]", b"5", b"null", b'"text"', b"{", b'{"text": "\\ud800"}', b"[" * 2000])
def test_a_body_that_is_no_object_is_400(body: bytes) -> None:
    assert post(body, key()).status_code == 400


def test_the_place_may_be_repeated_among_the_labels() -> None:
    body = {
        "service": "shop",
        "environment": "staging",
        "rating": 4,
        "labels": {"service": "shop", "environment": "staging"},
    }
    answer = post(body, key())
    assert answer.status_code == 201
    assert answer.json()["labels"] == {}


def test_a_key_writes_only_where_it_belongs() -> None:
    raw = key(environments=["staging"], services=["shop"])
    assert post({"service": "shop", "rating": 5}, raw).status_code == 201
    for body in ({"service": "bank"}, {"service": "nowhere"}, {"service": "shop", "environment": "production"}):
        answer = post({"rating": 5} | body, raw)
        assert answer.status_code == 403, body
    assert Entry.objects.count() == 1


@pytest.mark.parametrize("scope", ["read", "write", "ingest", "evidence"])
def test_another_scope_does_not_hand_in(scope: str) -> None:
    assert post({"service": "shop", "rating": 5}, key(scope)).status_code == 403
    assert not Entry.objects.exists()


def test_without_a_key_it_is_401() -> None:
    assert post({"service": "shop", "rating": 5}, "").status_code == 401
    assert post({"service": "shop", "rating": 5}, "fd_wrong").status_code == 401


def test_a_person_hands_in_where_she_may_operate() -> None:
    person = User.objects.create_user("olga", password="x")
    client = Client()
    client.force_login(person)
    body = {"service": "shop", "environment": "staging", "rating": 4}
    assert client.post(PATH, body, content_type="application/json").status_code == 403
    Grant.objects.create(user=person, role="operator", environment=Environment.objects.get(key="staging"))
    assert client.post(PATH, body, content_type="application/json").status_code == 201
    assert client.post(PATH, body | {"environment": "production"}, content_type="application/json").status_code == 403


# --- Satisfaction -------------------------------------------------------------------------------
def test_ratings_become_the_metric_satisfaction_with_their_labels() -> None:
    labels = {"release": "2.4.0", "flag": "new-checkout", "variant": "on", "browser": "firefox"}
    post({"service": "shop", "environment": "staging", "rating": 2, "labels": labels}, key())
    series = Series.objects.get()
    assert series.metric.name == "satisfaction"
    assert series.metric.direction == "higher_is_better"
    assert series.labels == {
        "service": "shop",
        "environment": "staging",
        "release": "2.4.0",
        "flag": "new-checkout",
        "variant": "on",
    }
    assert (series.service, series.environment) == (
        Service.objects.get(key="shop"),
        Environment.objects.get(key="staging"),
    )
    assert Observation.objects.get().value == 2


def test_texts_without_a_rating_are_not_counted() -> None:
    post({"service": "shop", "text": "horrible"}, key())
    assert not Observation.objects.exists()


def test_ratings_of_one_instant_are_all_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    noon = jobs.database_now()
    monkeypatch.setattr(jobs, "database_now", lambda: noon)
    raw = key()
    for rating in (1, 5, 5, 5):
        post({"service": "shop", "rating": rating}, raw)
    sample = Sample.objects.get()
    assert sample.histogram is not None
    assert sample.histogram["count"] == 4
    assert sample.value == 4


@pytest.mark.django_db(transaction=True)
def test_ratings_that_race_are_all_counted() -> None:
    raw = key()

    def work() -> None:
        for _ in range(5):
            assert post({"service": "shop", "rating": 3}, raw).status_code == 201
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Entry.objects.count() == 20
    assert sum((sample.histogram or {})["count"] for sample in Sample.objects.all()) == 20


@pytest.mark.django_db(transaction=True)
def test_an_entry_and_its_rating_are_kept_together_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a kill between the two would do: the transaction ends before its commit."""
    raw = key()
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION pg_temp.die() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'gone' USING ERRCODE = '57P01'; END $$"
        )
        cursor.execute(
            "CREATE TRIGGER die BEFORE INSERT ON monitoring_observation FOR EACH ROW EXECUTE FUNCTION pg_temp.die()"
        )
    try:
        assert post({"service": "shop", "rating": 3}, raw).status_code == 503
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP TRIGGER die ON monitoring_observation")
    assert not Entry.objects.exists()


def test_feedback_is_kept_when_the_metric_takes_no_ratings_and_counted_once_it_does() -> None:
    Metric.objects.filter(name="satisfaction").update(type="counter")
    answer = post({"service": "shop", "rating": 3, "text": "fine"}, key())
    assert answer.status_code == 201
    assert "counter" in answer.json()["uncounted_because"]
    assert not Observation.objects.exists()
    assert tasks.count() == 0, "not before its time"

    Metric.objects.filter(name="satisfaction").update(type="histogram")
    Series.objects.all().delete()
    Entry.objects.update(count_at=jobs.database_now())
    assert tasks.count() == 1
    assert Observation.objects.get().value == 3
    entry = Entry.objects.get()
    assert (entry.count_at, entry.uncounted_because) == (None, "")
    assert tasks.count() == 0


# --- Read ---------------------------------------------------------------------------------------
@pytest.fixture
def some() -> None:
    raw = key()
    for body in (
        {"service": "shop", "environment": "staging", "text": "It is broken and slow", "kind": "bug"},
        {"service": "shop", "environment": "production", "rating": 5, "labels": {"release": "2.4.0", "variant": "on"}},
        {
            "service": "bank",
            "environment": "production",
            "rating": 2,
            "text": "ala ma kota",
            "email": "ala@example.com",
        },
        {"service": "bank", "text": "Wie geht das hier eigentlich", "language": "de", "kind": "question"},
    ):
        assert post(body, raw).status_code == 201


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("", 4),
        ("?service=shop", 2),
        ("?service=nowhere", 0),
        ("?environment=production", 2),
        ("?kind=bug", 1),
        ("?sentiment=negative", 1),
        ("?sentiment=unknown", 1),
        ("?rating=5", 1),
        ("?release=2.4.0", 1),
        ("?variant=on", 1),
        ("?priority=low", 1),
        ("?search=KOTA", 1),
        ("?since=2000-01-01T00:00:00Z", 4),
        ("?until=2000-01-01T00:00:00Z", 0),
        ("?service=bank&rating=2&search=kota", 1),
        ("?service=", 4),
    ],
)
def test_the_list_is_filtered(some: None, query: str, count: int) -> None:
    told = get(f"{PATH}{query}", key("read")).json()
    assert told["count"] == len(told["results"]) == count


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("?kind=rant", "kind"),
        ("?sentiment=angry", "sentiment"),
        ("?rating=9", "rating"),
        ("?rating=x", "rating"),
        ("?since=yesterday", "since"),
        ("?service=a%00b", "service"),
        ("?search=a%00b", "search"),
    ],
)
def test_a_filter_that_means_nothing_is_400(query: str, field: str) -> None:
    answer = get(f"{PATH}{query}", key("read"))
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == field


def test_newest_first_in_pages(some: None) -> None:
    first = get(f"{PATH}?page_size=3", key("read")).json()
    second = get(first["next"], key("read")).json()
    ids = [row["id"] for row in first["results"] + second["results"]]
    assert ids == sorted(ids, reverse=True)
    assert len(set(ids)) == 4


def test_addresses_are_for_those_who_may_operate(some: None) -> None:
    entry = Entry.objects.exclude(email="").get()
    path = f"{PATH}{entry.pk}/"
    assert get(path, key("read")).json()["email"] is None
    assert get(path, key("write")).json()["email"] == "ala@example.com"
    assert get(path, key("write", environments=["production"])).json()["email"] == "ala@example.com"
    for raw in (key("read"), key("write"), key("admin")):
        assert b"ala@example.com" not in get(PATH, raw).content


def test_a_reader_sees_only_her_places(some: None) -> None:
    staging = key("read", environments=["staging"])
    assert {row["environment"] for row in get(PATH, staging).json()["results"]} == {"staging", None}
    hidden = Entry.objects.filter(environment__key="production").first()
    assert hidden is not None
    assert get(f"{PATH}{hidden.pk}/", staging).status_code == 404
    bank = key("read", services=["bank"])
    assert {row["service"] for row in get(PATH, bank).json()["results"]} == {"bank"}


def test_a_key_that_hands_in_does_not_read(some: None) -> None:
    entry = Entry.objects.first()
    assert entry is not None
    assert get(PATH, key()).status_code == 403
    assert get(f"{PATH}{entry.pk}/", key()).status_code == 403


@pytest.mark.parametrize("pk", ["0", "999999", "9" * 30, "x"])
def test_what_is_not_there_is_404(pk: str) -> None:
    assert get(f"{PATH}{pk}/", key("read")).status_code == 404


@pytest.mark.parametrize("count", [2, 12])
def test_the_list_costs_the_same_for_two_and_twelve(count: int, django_assert_num_queries: Any) -> None:
    raw = key()
    for _ in range(count):
        post({"service": "shop", "environment": "staging", "rating": 3}, raw)
    reader = key("read")
    with django_assert_num_queries(3):
        assert get(PATH, reader).json()["count"] == count
