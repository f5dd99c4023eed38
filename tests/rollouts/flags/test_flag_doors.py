"""Flags and segments by REST."""

from typing import Any

import orjson
import pytest
from django.test import Client

from portal.models import Environment
from rollouts.actions import flags, segments
from rollouts.models import Flag, FlagConfig, FlagRevision, Segment
from tests import make

pytestmark = pytest.mark.django_db
ON = {"variant": "on"}


class Caller:
    """A client with one key."""

    def __init__(self, key: str) -> None:
        self.key = key

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        data = body if isinstance(body, bytes) else b"" if body is None else orjson.dumps(body)
        return Client().generic(
            method,
            f"/api/v1/{path}",
            data,
            content_type="application/json",
            headers={"Authorization": f"Bearer {self.key}"} | {k.replace("_", "-"): v for k, v in headers.items()},
        )


@pytest.fixture
def place() -> Environment:
    return make.environment("production")


@pytest.fixture
def call(place: Environment) -> Caller:
    return Caller(make.key("write"))


def named(answer: Any) -> set[str]:
    return {one["field"] for one in answer.json()["errors"]}


# --- Definitions --------------------------------------------------------------------------------
def test_the_contracts_flag_is_created_read_and_listed(call: Caller) -> None:
    make.service("checkout")
    body = {
        "key": "new-checkout",
        "type": "ab_test",
        "value_type": "string",
        "variants": [{"key": "a", "value": "red"}, {"key": "b", "value": "blue"}],
        "purpose": "experiment",
        "owner": "team-pay",
        "risk": "high",
        "service": "checkout",
    }
    made = call("POST", "flags/", body)
    assert made.status_code == 201
    assert {name: made.json()[name] for name in body} == body
    assert made.json()["archived"] is False
    read = call("GET", "flags/new-checkout/")
    assert read.json() == made.json()
    assert read["ETag"] == made["ETag"]
    listed = call("GET", "flags/").json()
    assert (listed["count"], listed["results"]) == (1, [made.json()])


def test_a_key_that_exists_is_409_and_a_wrong_field_is_400_by_name(call: Caller) -> None:
    assert call("POST", "flags/", {"key": "flag"}).status_code == 201
    again = call("POST", "flags/", {"key": "flag"})
    assert (again.status_code, again.json()["detail"]) == (409, "there is a flag flag already")
    wrong = call("POST", "flags/", {"key": "a/b", "risk": "none", "color": "red"})
    assert wrong.status_code == 400
    assert named(wrong) == {"color"} or {"key", "risk"} <= named(wrong)
    values = call("POST", "flags/", {"key": "x", "value_type": "int", "variants": [{"key": "a", "value": True}]})
    assert named(values) == {"variants[0].value"}
    assert named(call("POST", "flags/", {"key": "x", "service": "ghost"})) == {"service"}


@pytest.mark.parametrize("body", [b"{", b"[]", b'"x"', b"null", b'{"key": NaN}', b'{"key": "\\ud800"}', b"\xff"])
def test_what_is_no_object_is_400(call: Caller, body: bytes) -> None:
    for method, path in (("POST", "flags/"), ("PUT", "flags/flag/environments/production/")):
        make.flag("flag") if method == "POST" else None
        assert call(method, path, body).status_code == 400


def test_flags_are_filtered_and_the_archived_are_apart(call: Caller) -> None:
    for key, kind in (("one", "boolean"), ("two", "percentage"), ("old", "boolean")):
        call("POST", "flags/", {"key": key, "type": kind})
    assert call("POST", "flags/old/archive/", {"because": "done"}).json()["archived"] is True

    def keys(query: str) -> list[str]:
        return [one["key"] for one in call("GET", f"flags/?{query}").json()["results"]]

    assert keys("") == ["one", "two"]
    assert keys("type=percentage") == ["two"]
    assert keys("search=ON") == ["one"]
    assert keys("archived=true") == ["old"]
    assert keys("page_size=1&page=2") == ["two"]
    assert call("GET", "flags/?type=toggle").status_code == 400
    assert call("GET", "flags/?search=%00").status_code == 400
    assert call("GET", "flags/?page=99").status_code == 404


def test_a_definition_changes_only_from_the_revision_that_was_seen(call: Caller) -> None:
    first = call("POST", "flags/", {"key": "flag"})["ETag"]
    second = call("PATCH", "flags/flag/", {"owner": "ann"}, If_Match=first)
    assert (second.status_code, second.json()["owner"]) == (200, "ann")
    stale = call("PATCH", "flags/flag/", {"owner": "bob"}, If_Match=first)
    assert stale.status_code == 412
    assert Flag.objects.get().owner == "ann"
    assert call("PATCH", "flags/flag/", {"owner": "bob"}, If_Match=f"{first}, W/{second['ETag']}").status_code == 200
    assert call("PATCH", "flags/flag/", {"key": "other"}).status_code == 400
    assert call("PATCH", "flags/ghost/", {"owner": "bob"}).status_code == 404


# --- Configs ------------------------------------------------------------------------------------
def test_the_contracts_config_is_written_and_read_back(call: Caller) -> None:
    make.flag("flag")
    path = "flags/flag/environments/production/"
    before = call("GET", path)
    assert (before.status_code, before.json()["enabled"], before.json()["revision"]) == (200, False, 0)
    body = {
        "enabled": True,
        "off_variant": "off",
        "rules": [{"id": "r", "all": [], "serve": {"split": {"on": 33.333, "off": 66.667}, "rollout": 50}}],
        "overrides": {"on": ["ann"]},
        "fallthrough": {"variant": "off"},
        "prerequisites": [],
        "window": None,
    }
    written = call("PUT", path, body, If_Match=before["ETag"])
    assert written.status_code == 200
    assert {name: written.json()[name] for name in body} == body
    assert written.json()["revision"] == 1
    assert call("GET", path).json() == written.json()
    # What was read can be written again, as it is.
    again = call("PUT", path, call("GET", path).json())
    assert (again.status_code, again.json()["revision"], again["ETag"]) == (200, 1, written["ETag"])
    assert call("PUT", path, {"enabled": False}, If_Match=before["ETag"]).status_code == 412


def test_what_is_wrong_in_a_config_is_named_by_its_path(call: Caller) -> None:
    make.flag("flag")
    serve = {"variant": "ghost", "rollout": 101}
    wrong = call("PUT", "flags/flag/environments/production/", {"rules": [{"serve": serve}], "nonsense": 1})
    assert wrong.status_code == 400
    assert named(wrong) == {"rules[0].serve.variant", "rules[0].serve.rollout", "nonsense"}
    assert named(call("PUT", "flags/flag/environments/production/", {"because": 7})) == {"because"}


def test_a_flag_is_killed_switched_on_and_restored(call: Caller, place: Environment) -> None:
    make.flag("flag", on_in=[place], serving="on")
    path = "flags/flag/environments/production/"
    killed = call("POST", f"{path}kill/", {"because": "it burns"})
    assert (killed.status_code, killed.json()["enabled"]) == (200, False)
    assert call("POST", f"{path}switch_on/").json()["enabled"] is True
    restored = call("POST", f"{path}restore/", {"revision": 2})
    assert (restored.status_code, restored.json()["enabled"], restored.json()["revision"]) == (200, False, 4)
    assert call("POST", f"{path}restore/", {"revision": 99}).status_code == 400
    assert call("POST", f"{path}restore/", {"revision": 1}, If_Match='"1"').status_code == 412
    history = call("GET", "flags/flag/revisions/?environment=production").json()
    assert [one["revision"] for one in history["results"]] == [4, 3, 2, 1]
    assert history["results"][2]["because"] == "it burns"
    assert history["results"][2]["diff"] == {"enabled": [True, False]}
    assert call("GET", "flags/flag/revisions/").json()["count"] == 5


def test_a_served_flag_is_409_for_hands_and_the_kill_goes_through(call: Caller, place: Environment) -> None:
    flag = make.flag("flag")
    flags.serve(flag, place, deployment=42, variant="on", baseline="off", weight=33_333, by=make.BY, because="stage")
    path = "flags/flag/environments/production/"
    rules = call("GET", path).json()["rules"]
    assert rules == [
        {
            "id": "deployment:42",
            "all": [],
            "serve": {"variant": "on", "rollout": 33.333},
            "deployment": 42,
            "live": True,
        }
    ]
    refused = call("PUT", path, {"fallthrough": {"variant": "on"}})
    assert refused.status_code == 409
    assert "served by deployment 42" in refused.json()["detail"]
    assert call("PUT", path, {"rules": rules, "enabled": True}).status_code == 200
    assert call("PUT", path, {"enabled": False}).json()["killed"] is True
    history = call("GET", "flags/flag/revisions/?environment=production").json()["results"]
    assert history[1]["document"]["rules"][0]["serve"]["rollout"] == 33.333


def test_what_a_flags_type_promises_and_its_config_lacks_is_told(call: Caller, place: Environment) -> None:
    call("POST", "flags/", {"key": "flag", "type": "percentage"})
    path = "flags/flag/environments/production/"
    bare = call("PUT", path, {"enabled": True, "fallthrough": ON})
    assert (bare.status_code, [one["field"] for one in bare.json()["warnings"]]) == (200, ["fallthrough"])
    # What is shown may be written again.
    given = bare.json() | {"fallthrough": ON | {"rollout": 5}}
    shared = call("PUT", path, given)
    assert (shared.status_code, shared.json()["warnings"]) == (200, [])


HERE = "flags/flag/environments/production/"


def scheduled(kind: str, *points: tuple[str, int]) -> dict[str, Any]:
    listed = [{"at": at, "rollout": rollout} for at, rollout in points]
    return {"fallthrough": ON | {"schedule": {"kind": kind, "points": listed}}}


def asking(**condition: Any) -> dict[str, Any]:
    return {"rules": [{"all": [{"attr": "a", **condition}], "serve": ON}]}


BEYOND = scheduled("linear", ("2099-01-01T00:00:00Z", 0), ("2099-02-01T00:00:00Z", 200))
WRONG: list[tuple[str, str, Any, str]] = [
    ("PUT", HERE, {"fallthrough": ON | {"rollout": 100.5}}, "fallthrough.rollout"),
    ("PUT", HERE, {"rules": [{"serve": {"split": {"on": 101}}}]}, "rules[0].serve.split.on"),
    ("PUT", HERE, {"prerequisites": [{"flag": "flag", "variants": ["on"]}]}, "prerequisites[0].flag"),
    ("PUT", HERE, {"rules": [{"segments": ["ghost"], "serve": ON}]}, "rules[0].segments[0]"),
    ("PUT", HERE, scheduled("steps", ("2020-01-01T00:00:00Z", 5)), "fallthrough.schedule"),
    ("PUT", HERE, BEYOND, "fallthrough.schedule.points[1].rollout"),
    ("PUT", HERE, {"window": {"from": "2026-03-29T02:30:00"}}, "window.from"),
    ("PUT", HERE, asking(op="regex", values=["(a"]), "rules[0].all[0].values"),
    ("PUT", HERE, asking(op="almost", values=["a"]), "rules[0].all[0].op"),
    ("POST", "flags/", {"key": "a/b"}, "key"),
    ("POST", "segments/", {"key": "a/b"}, "key"),
    ("POST", "segments/", {"key": "s", "conditions": [{"op": "segment", "values": ["s"]}]}, "conditions"),
    ("DELETE", "segments/staff/", None, ""),
]


@pytest.mark.parametrize(("method", "path", "body", "field"), WRONG)
def test_bad_input_is_refused_by_its_field_and_nothing_is_half_written(
    call: Caller, place: Environment, method: str, path: str, body: Any, field: str
) -> None:
    def held() -> tuple[Any, ...]:
        written = (Flag.objects.count(), Segment.objects.count(), FlagRevision.objects.count())
        return (FlagConfig.objects.get().document(), *written)

    segments.create("staff", by=make.BY, included=["ann"])
    flag = make.flag("flag", on_in=[place])
    flags.configure(flag, place, {"rules": [{"segments": ["staff"], "serve": ON}]}, by=make.BY)
    before = held()
    answer = call(method, path, body)
    if method == "DELETE":
        assert answer.status_code == 409
        assert "is used by flag flag in production" in answer.json()["detail"]
    else:
        assert answer.status_code == 400
        assert field in named(answer)
    assert held() == before


# --- Explaining ---------------------------------------------------------------------------------
def test_explaining_says_what_a_unit_gets_and_why(call: Caller, place: Environment) -> None:
    flag, parent = make.flag("flag"), make.flag("parent", on_in=[place], serving="on")
    segments.create("staff", by=make.BY, included=["ann"])
    flags.configure(
        flag,
        place,
        {
            "enabled": True,
            "rules": [
                {"id": "adults", "all": [{"attr": "age", "op": "gte", "values": [18]}], "serve": ON},
                {"id": "staff", "segments": ["staff"], "serve": {**ON, "rollout": 100}},
            ],
            "prerequisites": [{"flag": parent.key, "variants": ["on"]}],
        },
        by=make.BY,
    )
    path = "flags/flag/environments/production/explain/"
    asked = call("GET", f"{path}?targetingKey=ann&age=20").json()
    assert (asked["variant"], asked["value"], asked["ruleId"], asked["reason"]) == (
        "on",
        True,
        "staff",
        "TARGETING_MATCH",
    )
    steps = {one.get("rule", one["step"]): one for one in asked["trace"]}
    assert steps["adults"]["conditions"][0]["why"] == "age is a text, gte needs a number"
    assert steps["needs"]["flag"] == "parent"
    whole = call("POST", path, {"context": {"targetingKey": "bob", "age": 20}}).json()
    assert (whole["ruleId"], whole["errorCode"]) == ("adults", None)


@pytest.mark.parametrize(
    ("context", "field"),
    [
        ("x", "context"),
        ({"targetingKey": 7}, "context.targetingKey"),
        ({f"a{n}": n for n in range(1001)}, "context"),
        ({f"a{n}": n for n in range(10_000)}, "context"),
        ({"a": [0] * 1001}, "context"),
        ({"a": {"b": [{"c": [0] * 1001}]}}, "context"),
        ({"a": "ä" * 33_000}, "context"),
        ({"targetingKey": "u" * 1025}, "context.targetingKey"),
        ({"a": [[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]}, "context"),
    ],
)
def test_a_context_that_cannot_be_is_400(call: Caller, context: Any, field: str) -> None:
    make.flag("flag")
    answer = call("POST", "flags/flag/environments/production/explain/", {"context": context})
    assert (answer.status_code, named(answer)) == (400, {field})


def test_explaining_an_archived_flag_says_that_it_is_not_found(call: Caller) -> None:
    flags.archive(make.flag("flag"), by=make.BY)
    asked = call("GET", "flags/flag/environments/production/explain/?targetingKey=a").json()
    assert asked["errorCode"] == "FLAG_NOT_FOUND"


# --- Segments -----------------------------------------------------------------------------------
def test_segments_are_made_changed_listed_and_deleted(call: Caller) -> None:
    body = {
        "key": "staff",
        "name": "Staff",
        "conditions": [{"attr": "email", "op": "ends_with", "values": ["@x.io"], "negate": False}],
        "included": ["ann"],
        "excluded": [],
    }
    made = call("POST", "segments/", body)
    assert made.status_code == 201
    assert {name: made.json()[name] for name in body} == body
    assert call("POST", "segments/", body).status_code == 409
    assert call("GET", "segments/?search=taf").json()["count"] == 1
    changed = call("PUT", "segments/staff/", {"excluded": ["eve"]}, If_Match=made["ETag"])
    assert (changed.status_code, changed.json()["excluded"], changed.json()["included"]) == (200, ["eve"], ["ann"])
    assert call("PUT", "segments/staff/", {"excluded": []}, If_Match=made["ETag"]).status_code == 412
    assert named(call("PATCH", "segments/staff/", {"conditions": [{"op": "in"}]})) >= {"conditions[0].attr"}
    assert call("DELETE", "segments/staff/").status_code == 204
    assert call("GET", "segments/staff/").status_code == 404


@pytest.mark.parametrize("path", ["flags/", "segments/", "flags/flag/archive/", "flags/flag/environments/production/"])
def test_a_method_that_an_address_does_not_have_is_405(call: Caller, path: str) -> None:
    make.flag("flag")
    assert call("DELETE", path, {}).status_code == 405


def test_a_segment_in_use_is_409(call: Caller, place: Environment) -> None:
    segments.create("staff", by=make.BY)
    flags.configure(make.flag("flag"), place, {"rules": [{"segments": ["staff"], "serve": ON}]}, by=make.BY)
    refused = call("DELETE", "segments/staff/")
    assert refused.status_code == 409
    assert "flag flag in production" in refused.json()["detail"]


# --- Who may ------------------------------------------------------------------------------------
def test_what_a_key_may_not_see_is_not_there(place: Environment) -> None:
    mine, other = make.service("mine"), make.service("other")
    for service in (mine, other):
        flags.create(f"{service.key}-flag", by=make.BY, service=service)
    staging = make.environment("staging")
    call = Caller(make.key("write", environments=[place], services=[mine]))
    assert [one["key"] for one in call("GET", "flags/").json()["results"]] == ["mine-flag"]
    assert call("GET", "flags/other-flag/").status_code == 404
    assert call("GET", f"flags/mine-flag/environments/{staging}/").status_code == 404
    assert call("PUT", f"flags/mine-flag/environments/{staging}/", {"enabled": True}).status_code == 404
    assert call("PUT", "flags/mine-flag/environments/production/", {"enabled": True}).status_code == 200
    assert call("POST", "flags/", {"key": "x", "service": "other"}).status_code == 400
    assert call("POST", "flags/", {"key": "x"}).status_code == 403


@pytest.mark.parametrize("scope", ["read", "evaluate", "ingest"])
def test_keys_that_may_not_write_do_not(place: Environment, scope: str) -> None:
    make.flag("flag")
    call = Caller(make.key(scope, environments=[place]))
    for method, path, body in (
        ("POST", "flags/", {"key": "x"}),
        ("PATCH", "flags/flag/", {"owner": "x"}),
        ("PUT", "flags/flag/environments/production/", {"enabled": True}),
        ("POST", "flags/flag/environments/production/kill/", {}),
        ("POST", "flags/flag/archive/", {}),
        ("POST", "segments/", {"key": "x"}),
    ):
        assert call(method, path, body).status_code == 403, path
    assert not FlagConfig.objects.exists()


def test_a_list_of_flags_costs_the_same_for_two_and_for_twelve(
    call: Caller, django_assert_max_num_queries: Any
) -> None:
    service = make.service("shop")
    for n in range(12):
        flags.create(f"flag{n}", by=make.BY, service=service)
    with django_assert_max_num_queries(8):
        assert call("GET", "flags/").json()["count"] == 12
