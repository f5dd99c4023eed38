"""What every REST door has in common: keys, problems, pages, idempotency."""

import threading
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from django.db import connection
from django.test import Client

from portal import drf, keys
from portal.audit import Automaton
from portal.limits import Limiter
from portal.models import ApiKey, AuditEntry, Environment, Grant, Reply, Service, User

pytestmark = pytest.mark.django_db
BY = Automaton("test")


def _key(*scopes: str, **options: Any) -> str:
    return keys.create("ci", scopes=scopes, by=BY, **options)[1]


def _post(path: str, body: Any, key: str, **headers: str) -> Any:
    data = body if isinstance(body, bytes) else orjson.dumps(body)
    return Client().post(
        path, data, content_type="application/json", headers={"Authorization": f"Bearer {key}"} | headers
    )


def test_nobody_gets_401_and_is_told_how() -> None:
    answer = Client().get("/api/v1/services/")
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"].startswith("Bearer")
    assert answer["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("header", ["Authorization", "X-API-Key"])
def test_a_key_is_taken_from_either_header(header: str) -> None:
    key = _key("read")
    value = f"Bearer {key}" if header == "Authorization" else key
    assert Client().get("/api/v1/services/", headers={header: value}).status_code == 200


def test_a_revoked_key_gets_401() -> None:
    key = _key("read")
    keys.revoke(ApiKey.objects.get(), by=BY)
    assert Client().get("/api/v1/services/", headers={"X-API-Key": key}).status_code == 401


def test_a_person_without_a_role_gets_403_and_a_viewer_sees() -> None:
    person = User.objects.create_user("vera", password="x")
    client = Client()
    client.force_login(person)
    assert client.get("/api/v1/services/").status_code == 403
    Grant.objects.create(user=person, role="viewer")
    assert client.get("/api/v1/services/").status_code == 200
    assert client.post("/api/v1/services/", {"key": "shop"}, content_type="application/json").status_code == 403


def test_a_persons_write_needs_the_csrf_token() -> None:
    person = User.objects.create_superuser("root", password="x")
    client = Client(enforce_csrf_checks=True)
    client.force_login(person)
    assert client.post("/api/v1/services/", {"key": "shop"}, content_type="application/json").status_code == 403
    assert not Service.objects.exists()


def test_a_created_service_is_read_back_listed_and_audited() -> None:
    key = _key("admin")
    answer = _post("/api/v1/services/", {"key": "shop", "name": "The shop"}, key)
    assert answer.status_code == 201
    assert answer.json() == {"key": "shop", "name": "The shop", "description": ""}
    listed = Client().get("/api/v1/services/", headers={"X-API-Key": key}).json()
    assert listed == {"count": 1, "next": None, "previous": None, "results": [answer.json()]}
    entry = AuditEntry.objects.get(verb="service.created")
    assert (entry.actor, entry.request_id) == ("key ci", answer["X-Request-ID"])


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "key"),
        ({"key": "a/b"}, "key"),
        ({"key": ""}, "key"),
        ({"key": "x" * 129}, "key"),
        ({"key": "shop", "colour": "red"}, "colour"),
        ({"key": "shop", "name": "a\0b"}, "name"),
        ({"key": {"a": 1}}, "key"),
        ({"key": ["shop"]}, "key"),
        ([], ""),
        (b"[[[", ""),
        (b'{"key": NaN}', ""),
        (b'{"key": "\xff"}', ""),
        (b'{"key": "\\ud800"}', ""),
    ],
)
def test_bad_input_is_400_and_names_the_field(body: Any, field: str) -> None:
    answer = _post("/api/v1/services/", body, _key("admin"))
    assert answer.status_code == 400, answer.content
    told = answer.json()
    assert told["status"] == 400
    assert told["detail"]
    if field:
        assert {error["field"] for error in told["errors"]} == {field}
    assert not Service.objects.exists()


def test_a_body_that_is_not_json_is_415() -> None:
    answer = Client().post("/api/v1/services/", {"key": "shop"}, headers={"X-API-Key": _key("admin")})
    assert answer.status_code == 415


def test_a_body_too_large_is_413(settings: Any) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 100
    assert _post("/api/v1/services/", {"key": "a", "name": "x" * 200}, _key("admin")).status_code == 413


def test_the_same_key_twice_is_a_conflict_in_words() -> None:
    key = _key("admin")
    _post("/api/v1/services/", {"key": "shop"}, key)
    answer = _post("/api/v1/services/", {"key": "shop"}, key)
    assert (answer.status_code, answer.json()["detail"]) == (409, "there is a service shop already")


def test_a_protected_environment_cannot_do_without_approval() -> None:
    key = _key("admin")
    body = {"key": "production", "protected": True, "approval_policy": "not_required"}
    answer = _post("/api/v1/environments/", body, key)
    assert answer.status_code == 400
    assert "cannot do without approval" in answer.json()["detail"]


def test_a_key_bound_to_one_environment_sees_only_that_one() -> None:
    staging = Environment.objects.create(key="staging")
    Environment.objects.create(key="production")
    key = _key("read", environments=[staging])
    seen = Client().get("/api/v1/environments/", headers={"X-API-Key": key}).json()
    assert [row["key"] for row in seen["results"]] == ["staging"]
    assert Client().get("/api/v1/environments/production/", headers={"X-API-Key": key}).status_code == 404


def test_a_write_with_an_idempotency_key_happens_once_and_answers_twice() -> None:
    key = _key("admin")
    first = _post("/api/v1/services/", {"key": "shop"}, key, **{"Idempotency-Key": "k1"})
    again = _post("/api/v1/services/", {"key": "shop"}, key, **{"Idempotency-Key": "k1"})
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert again["Idempotency-Replayed"] == "true"
    other = _post("/api/v1/services/", {"key": "other"}, key, **{"Idempotency-Key": "k1"})
    assert other.status_code == 409
    assert Service.objects.count() == 1


def test_a_refused_write_leaves_its_idempotency_key_free() -> None:
    key = _key("admin")
    assert _post("/api/v1/services/", {"key": "a/b"}, key, **{"Idempotency-Key": "k"}).status_code == 400
    assert not Reply.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_retries_that_race_make_one_change() -> None:
    key = _key("admin")
    seen: list[int] = []

    def work() -> None:
        seen.append(_post("/api/v1/services/", {"key": "shop"}, key, **{"Idempotency-Key": "k1"}).status_code)
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [201] * 4
    assert AuditEntry.objects.filter(verb="service.created").count() == 1


def test_a_caller_beyond_its_rate_is_told_to_wait_whole_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    # Three requests within no time, however long they take.
    monkeypatch.setattr("portal.limits.time", SimpleNamespace(monotonic=lambda: 100.0))
    limiter = Limiter(2)
    monkeypatch.setattr(drf, "_limiter", lambda: limiter)
    key = _key("read")
    seen = [Client().get("/api/v1/services/", headers={"X-API-Key": key}) for _ in range(3)]
    assert [answer.status_code for answer in seen] == [200, 200, 429]
    assert seen[2]["Retry-After"] == "1"


@pytest.mark.parametrize("path", ["/api/v1/services/none/", "/api/v1/environments/none/", "/api/v1/nowhere/"])
def test_what_is_not_there_is_404(path: str) -> None:
    assert Client().get(path, headers={"X-API-Key": _key("read")}).status_code == 404


@pytest.mark.parametrize("query", ["?page=0", "?page=x", "?page=99999999999999999999"])
def test_a_page_that_is_not_there_is_404(query: str) -> None:
    assert Client().get(f"/api/v1/services/{query}", headers={"X-API-Key": _key("read")}).status_code == 404


def test_the_audit_trail_is_read_by_whoever_may_view_everything() -> None:
    staging = Environment.objects.create(key="staging")
    assert Client().get("/api/v1/audit/", headers={"X-API-Key": _key("read")}).json()["count"] == 1
    bound = _key("read", environments=[staging])
    assert Client().get("/api/v1/audit/", headers={"X-API-Key": bound}).status_code == 403


def test_schema_and_docs_are_served() -> None:
    schema = Client().get("/api/v1/schema/?format=json")
    assert schema.status_code == 200
    assert "/api/v1/services/" in schema.json()["paths"]
    docs = Client().get("/api/v1/docs/")
    assert docs.status_code == 200
    assert "unsafe" not in docs["Content-Security-Policy"]
    assert "<script>" not in docs.content.decode()
