"""Releases, plans and deployments by REST, to the letter of the contract."""

import json
from typing import Any

import pytest
from django.test import Client

from portal.models import Grant
from rollouts.actions import deployments
from rollouts.models import Deployment, Plan, Release
from tests import make

pytestmark = pytest.mark.django_db

PLAN: dict[str, Any] = {
    "name": "canary",
    "stages": [
        {"name": "a few", "weight": 5, "dwell": 600, "gates": [{"kind": "soak", "seconds": 60}]},
        {"name": "all", "weight": 100, "dwell": 600, "gates": []},
    ],
    "guardrails": [],
    "checklists": [],
}


class Door:
    """A client with a key (or a person) that speaks JSON."""

    def __init__(self, *scopes: str, person: Any = None, **bound: Any) -> None:
        self.client = Client()
        self.headers: dict[str, str] = {}
        if person is not None:
            self.client.force_login(person)
        else:
            self.headers = {"Authorization": f"Bearer {make.key(*scopes, **bound)}"}

    def get(self, path: str) -> Any:
        return self.client.get(f"/api/v1/{path}", headers=self.headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        data = body if isinstance(body, bytes) else json.dumps({} if body is None else body)
        return self.client.post(
            f"/api/v1/{path}", data, content_type="application/json", headers=self.headers | headers
        )

    def patch(self, path: str, body: Any) -> Any:
        return self.client.patch(
            f"/api/v1/{path}", json.dumps(body), content_type="application/json", headers=self.headers
        )


@pytest.fixture
def door() -> Door:
    return Door("write")


def fields_of(answer: Any) -> set[str]:
    assert answer.status_code == 400, answer.content
    assert answer["Content-Type"] == "application/problem+json"
    return {one["field"] for one in answer.json()["errors"]}


def drafted(door: Door, **changes: Any) -> dict[str, Any]:
    """A deployment by the contract's words."""
    make.flag("new-checkout", on_in=[make.environment()])
    make.service()
    door.post(
        "releases/", {"service": "checkout", "version": "2.0.0", "commit": "abc", "type": "canary", "risk": "low"}
    )
    door.post("plans/", PLAN)
    body = {
        "release": {"service": "checkout", "version": "2.0.0"},
        "environment": "staging",
        "plan": "canary",
        "serves": [{"flag": "new-checkout", "variant": "on", "baseline": "off"}],
    }
    answer = door.post("deployments/", body | changes)
    assert answer.status_code == 201, answer.content
    made: dict[str, Any] = answer.json()
    return made


# --- Releases -----------------------------------------------------------------------------------
def test_a_release_is_announced_and_read_back(door: Door) -> None:
    make.service()
    make.person("cleo")
    body = {
        "service": "checkout",
        "version": "2.0.0",
        "commit": "abc",
        "type": "blue_green",
        "risk": "high",
        "notes": "new cart",
        "captain": "cleo",
        "zone": "Pacific/Auckland",
        "t0": "2031-01-31T12:00:00+13:00",
    }
    answer = door.post("releases/", body)
    assert answer.status_code == 201
    made = answer.json()
    assert (made["type"], made["captain"], made["zone"]) == ("blue-green", "cleo", "Pacific/Auckland")
    assert made["t0"] == "2031-01-30T23:00:00Z"
    assert door.get(f"releases/{made['id']}/").json() == made
    assert door.get("releases/?service=checkout&version=2.0.0").json()["results"] == [made]


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"service": "nobody"}, "service"),
        ({"service": 5}, "service"),
        ({"version": ""}, "version"),
        ({"version": "x" * 200}, "version"),
        ({"version": None}, "version"),
        ({"type": "big-bang"}, "type"),
        ({"risk": "none"}, "risk"),
        ({"captain": ["cleo"]}, "captain"),
        ({"zone": "Moon/Crater"}, "zone"),
        ({"zone": "../../etc/passwd"}, "zone"),
        ({"t0": "tomorrow"}, "t0"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_wrong_field_of_a_release_is_named(door: Door, wrong: dict[str, Any], field: str) -> None:
    make.service()
    assert fields_of(door.post("releases/", {"service": "checkout", "version": "2.0.0"} | wrong)) == {field}


def test_a_version_is_released_once(door: Door) -> None:
    make.service()
    body = {"service": "checkout", "version": "2.0.0"}
    assert door.post("releases/", body).status_code == 201
    answer = door.post("releases/", body)
    assert answer.status_code == 409
    assert answer.json()["detail"] == "checkout already has a release 2.0.0"


def test_a_release_is_corrected_until_it_is_deployed(door: Door) -> None:
    release = make.release("2.0.0")
    assert door.patch(f"releases/{release.pk}/", {"notes": "better", "commit": "def"}).json()["commit"] == "def"
    make.progressing(release=release, dwell=600)
    assert door.patch(f"releases/{release.pk}/", {"commit": "ghi"}).status_code == 409
    assert door.patch(f"releases/{release.pk}/", {"notes": "best"}).status_code == 200
    assert Release.objects.get().notes == "best"


# --- Plans --------------------------------------------------------------------------------------
def test_a_plan_is_written_by_name_and_each_change_is_a_version(door: Door) -> None:
    first = door.post("plans/", PLAN)
    assert first.status_code == 201
    assert (first.json()["version"], first["ETag"]) == (1, f'"{first.json()["hash"]}"')
    same = door.post("plans/", PLAN)
    assert (same.status_code, same.json()) == (200, first.json())
    second = door.post("plans/", PLAN | {"watch": 60})
    assert (second.status_code, second.json()["version"], second.json()["watch"]) == (201, 2, 60)
    assert door.get("plans/canary/").json()["version"] == 2
    assert door.get(f"plans/{first.json()['id']}/").json()["current"] is False
    assert door.get("plans/").json()["count"] == 1
    assert door.get("plans/?all_versions=true&name=canary").json()["count"] == 2
    assert door.get("plans/nothing/").status_code == 404
    assert door.get(f"plans/{'9' * 40}/").status_code == 404


def test_an_edit_of_an_older_version_answers_412(door: Door) -> None:
    first = door.post("plans/", PLAN)
    door.post("plans/", PLAN | {"watch": 60})
    stale = door.post("plans/", PLAN | {"watch": 90}, **{"If-Match": first["ETag"]})
    assert stale.status_code == 412
    assert door.post("plans/", PLAN | {"watch": 90, "expected_hash": first.json()["hash"]}).status_code == 412
    assert Plan.objects.count() == 2


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"name": "no/slash"}, "name"),
        ({"name": None}, "name"),
        ({"stages": []}, "stages"),
        ({"stages": "x"}, "stages"),
        ({"stages": [1]}, "stages[0]"),
        ({"stages": PLAN["stages"] * 30}, "stages"),
        ({"stages": [{**PLAN["stages"][0], "weight": 5.0005}]}, "stages[0].weight"),
        ({"stages": [{**PLAN["stages"][0], "gates": [{"kind": "soak", "seconds": 1}, {"kind": "x"}]}]},
         "stages[0].gates[1].kind"),
        ({"stages": [{**PLAN["stages"][0], "gates": [{"kind": "soak"}]}]}, "stages[0].gates[0].seconds"),
        ({"stages": [{**PLAN["stages"][0], "audience": [{"attr": "x"}]}]}, "stages[0].audience[0].op"),
        ({"guardrails": [{"kind": "analysis"}]}, "guardrails[0].kind"),
        ({"guardrails": ["x"]}, "guardrails[0]"),
        ({"checklists": [{"name": "x"}]}, "checklists"),
        ({"surprise": 1}, "surprise"),
    ],
)  # fmt: skip
def test_a_wrong_field_of_a_plan_is_named_by_its_path(door: Door, wrong: dict[str, Any], field: str) -> None:
    assert field in fields_of(door.post("plans/", PLAN | wrong))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"{",
        b'{"name": "a\\u0000b", "stages": []}',
        b'{"name": NaN}',
        b'{"name": "x", "stages": ' + b"[" * 5000 + b"]" * 5000 + b"}",
        b'{"name": "x", "stages": [{"name": "\\ud800", "weight": 5, "dwell": 1}]}',
        b'{"name": "x", "stages": [{"name": "y", "weight": 1e999, "dwell": 1}]}',
        b'{"name": "x", "stages": [{"name": "y", "weight": 5, "dwell": 99999999999999999999999999}]}',
        b'{"name": "x", "stages": [{"name": "y", "weight": 5, "dwell": 1, "gates": [{"kind": {"a": []}}]}]}',
        b'{"name": "x", "stages": [{"name": "y", "weight": 5, "dwell": 1, "audience": {"all": 5}}]}',
    ],
)
@pytest.mark.parametrize("path", ["plans/", "releases/", "deployments/"])
def test_what_is_no_request_answers_400(door: Door, path: str, body: bytes) -> None:
    assert door.post(path, body).status_code == 400


# --- Deployments --------------------------------------------------------------------------------
def test_a_deployment_shows_what_the_contract_names(door: Door) -> None:
    draft = drafted(door)
    assert draft["status"] == "draft"
    assert (draft["stage"], draft["weight"], draft["epoch"]) == (None, 0, 1)
    begun = door.post(f"deployments/{draft['id']}/start/").json()
    assert begun["status"] == "progressing"
    assert (begun["stage"], begun["weight"]) == ({"index": 0, "name": "a few"}, 5.0)
    assert begun["serves"] == [{"flag": "new-checkout", "variant": "on", "baseline": "off"}]
    make.reconciled(Deployment.objects.get())
    held = door.get(f"deployments/{draft['id']}/").json()
    assert held["held_because"].startswith("soak: served for")
    assert held["held_because"] in held["blockers"]
    assert held["next_look_at"] is not None
    assert held["plan_hash"] == Plan.objects.get().hash
    assert [stage["gates"][0]["outcome"] for stage in held["stages"] if stage["gates"]] == ["pending"]
    assert door.get(held["timeline"].removeprefix("/api/v1/")).status_code == 200


def test_a_whole_number_may_be_written_as_one_with_a_point(door: Door) -> None:
    make.release("2.0.0")
    make.environment()
    body = json.dumps(PLAN).replace("600", "600.0")
    assert door.post("plans/", body.encode()).json()["hash"] == door.post("plans/", PLAN).json()["hash"]
    answer = door.post(
        "deployments/",
        {"release": float(Release.objects.get().pk), "environment": "staging", "plan": float(Plan.objects.get().pk)},
    )
    assert answer.status_code == 201


@pytest.mark.parametrize("form", ["id", "text", "object"])
def test_a_release_is_named_in_three_ways(door: Door, form: str) -> None:
    release = make.release("2.0.0")
    make.plan("canary")
    make.environment()
    named: Any = {"id": release.pk, "text": "checkout@2.0.0", "object": {"service": "checkout", "version": "2.0.0"}}
    body = {"release": named[form], "environment": "staging", "plan": Plan.objects.get().pk}
    answer = door.post("deployments/", body)
    assert answer.status_code == 201
    assert (answer.json()["release"], answer.json()["plan"]) == (release.pk, "canary")


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"release": 999}, "release"),
        ({"release": "checkout@9"}, "release"),
        ({"release": "checkout"}, "release"),
        ({"release": {"service": "checkout"}}, "release"),
        ({"release": True}, "release"),
        ({"release": 10**30}, "release"),
        ({"environment": "moon"}, "environment"),
        ({"environment": ["staging"]}, "environment"),
        ({"plan": "nothing"}, "plan"),
        ({"plan": -1}, "plan"),
        ({"plan": 10**30}, "plan"),
        ({"plan": {}}, "plan"),
        ({"serves": [{"flag": "nothing", "variant": "on", "baseline": "off"}]}, "serves[0].flag"),
        ({"serves": [{"flag": "new-checkout", "variant": "x", "baseline": "off"}]}, "serves[0].variant"),
        ({"serves": [{"flag": "new-checkout", "variant": "on"}]}, "serves[0].baseline"),
        ({"serves": "new-checkout"}, "serves"),
        ({"serves": [5]}, "serves[0]"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_wrong_field_of_a_deployment_is_named(door: Door, wrong: dict[str, Any], field: str) -> None:
    drafted(door)
    body = {"release": "checkout@2.0.0", "environment": "staging", "plan": "canary"}
    assert any(one.startswith(field) for one in fields_of(door.post("deployments/", body | wrong)))


def test_the_verbs_are_addresses_that_answer_with_the_deployment(door: Door) -> None:
    at = f"deployments/{drafted(door)['id']}"
    assert door.post(f"{at}/start/", {"because": "go"}).json()["status"] == "progressing"
    refused = door.post(f"{at}/advance/")
    assert refused.status_code == 409
    assert "soak: served for" in refused.json()["detail"]
    assert door.post(f"{at}/pause/", {"because": "lunch"}).json()["paused_reason"] == "by_hand"
    assert door.post(f"{at}/resume/").json()["status"] == "progressing"
    back = door.post(f"{at}/roll_back/", {"because": "bad"})
    assert (back.status_code, back.json()["status"], back.json()["weight"]) == (200, "rolled_back", 0)
    assert door.post(f"{at}/roll_back/", {"because": "bad"}).status_code == 200
    assert door.post(f"{at}/retry/").json()["epoch"] == 2
    assert door.post(f"{at}/cancel/", {"because": "enough"}).json()["status"] == "cancelled"


@pytest.mark.parametrize("verb", ["pause", "roll_back", "cancel"])
@pytest.mark.parametrize("body", [None, {}, {"because": ""}, {"because": "  "}, {"because": None}, {"because": 7}])
def test_these_verbs_want_a_reason(door: Door, verb: str, body: Any) -> None:
    draft = drafted(door)
    if body == {"because": 7}:
        body = {"because": [7]}
    assert fields_of(door.post(f"deployments/{draft['id']}/{verb}/", body)) == {"because"}


def test_who_decides_on_an_older_sight_answers_412(door: Door) -> None:
    draft = drafted(door)
    seen = door.get(f"deployments/{draft['id']}/")["ETag"]
    at = f"deployments/{draft['id']}"
    assert door.post(f"{at}/start/", None, **{"If-Match": seen}).status_code == 200
    stale = door.post(f"{at}/pause/", {"because": "x"}, **{"If-Match": seen})
    assert stale.status_code == 412
    assert Deployment.objects.get().status == "progressing"
    now = door.get(f"{at}/")["ETag"]
    assert door.post(f"{at}/pause/", {"because": "x"}, **{"If-Match": now}).status_code == 200


def test_a_start_of_another_plan_than_was_seen_answers_412(door: Door) -> None:
    draft = drafted(door)
    door.post("plans/", PLAN | {"watch": 60})
    body = {"expected_plan_hash": draft["plan_hash"]}
    assert door.post(f"deployments/{draft['id']}/start/", body).status_code == 412


def test_an_advance_that_is_sent_again_advances_once(door: Door) -> None:
    run = make.progressing(stages=[5, 50, 100])
    for _ in range(2):
        answer = door.post(f"deployments/{run.pk}/advance/", None, **{"Idempotency-Key": "one"})
        assert answer.json()["weight"] == 50.0


def test_starting_without_a_policy_says_what_to_do(door: Door) -> None:
    draft = drafted(door)
    Deployment.objects.get().environment.__class__.objects.update(approval_policy="")
    answer = door.post(f"deployments/{draft['id']}/start/")
    assert answer.status_code == 409
    assert answer.json()["detail"].startswith("staging has no approval policy: ")


def test_a_persons_vote_begins_it_and_a_keys_is_403() -> None:
    deployment = make.deployment(environment=make.production(), dwell=600)
    deployments.start(deployment, by=make.BY)
    writer, anna = Door("admin"), make.person("anna", "approver", "viewer")
    seen = writer.get(f"deployments/{deployment.pk}/").json()
    assert (seen["status"], seen["votes_on"]) == ("awaiting_approval", ["four_eyes"])
    body = {"rule": "four_eyes", "value": "go", "expected_plan_hash": seen["plan_hash"]}
    at = f"deployments/{deployment.pk}/votes/"
    assert writer.post(at, body).status_code == 403
    voter = Door(person=anna)
    assert voter.post(at, body | {"expected_plan_hash": "0" * 64}).status_code == 412
    assert fields_of(voter.post(at, body | {"value": "yes"})) == {"value"}
    assert fields_of(voter.post(at, body | {"rule": "legal"})) == {"rule"}
    cast = voter.post(at, body)
    assert (cast.status_code, cast.json()["person"]) == (201, "anna")
    assert writer.get(f"deployments/{deployment.pk}/").json()["status"] == "progressing"


def test_lists_are_filtered(door: Door) -> None:
    run = make.progressing(dwell=600)
    make.deployment(environment=make.environment("qa"))
    assert door.get("deployments/").json()["count"] == 2
    assert [one["id"] for one in door.get("deployments/?live=true").json()["results"]] == [run.pk]
    assert door.get("deployments/?environment=qa&service=checkout").json()["count"] == 1
    assert door.get("deployments/?status=paused").json()["count"] == 0
    assert door.get("deployments/?status=odd").status_code == 400
    assert door.get("deployments/?service=%00").status_code == 400


def test_a_list_costs_the_same_for_two_and_for_twelve(door: Door, django_assert_max_num_queries: Any) -> None:
    for n in range(12):
        make.progressing(release=make.release(service=make.service(f"s{n}")), dwell=600)
    with django_assert_max_num_queries(14):
        assert len(door.get("deployments/?page_size=2").json()["results"]) == 2
    with django_assert_max_num_queries(14):
        assert len(door.get("deployments/?page_size=12").json()["results"]) == 12


def test_what_is_not_there_answers_404(door: Door) -> None:
    for path in ("deployments/999/", "releases/999/", f"deployments/{10**30}/"):
        assert door.get(path).status_code == 404
    assert door.post("deployments/999/start/").status_code == 404


@pytest.mark.parametrize("path", ["deployments/-1/", "deployments/x/start/", "releases/1.5/", "nothing/"])
def test_an_address_that_leads_nowhere_answers_as_the_api_does(door: Door, path: str) -> None:
    answer = door.get(path)
    assert (answer.status_code, answer["Content-Type"]) == (404, "application/problem+json")
    assert answer.json()["status"] == 404


def test_a_key_of_another_environment_sees_and_does_nothing() -> None:
    run = make.progressing(dwell=600)
    stranger = Door("write", environments=[make.environment("qa")])
    assert stranger.get("deployments/").json()["count"] == 0
    assert stranger.get(f"deployments/{run.pk}/").status_code == 404
    assert stranger.post(f"deployments/{run.pk}/roll_back/", {"because": "x"}).status_code == 404


def test_a_reader_reads_and_does_nothing() -> None:
    run = make.progressing(dwell=600)
    reader = Door("read")
    assert reader.get(f"deployments/{run.pk}/").status_code == 200
    assert reader.post(f"deployments/{run.pk}/roll_back/", {"because": "x"}).status_code == 403
    assert reader.post("plans/", PLAN).status_code == 403
    assert reader.post("releases/", {"service": "checkout", "version": "9"}).status_code == 403


@pytest.mark.parametrize("path", ["deployments/", "plans/", "releases/", "plans/canary/"])
def test_nobody_and_people_without_a_role_see_nothing(path: str) -> None:
    make.plan("canary")
    assert Client().get(f"/api/v1/{path}").status_code == 401
    nobody = make.person("nobody")
    assert Door(person=nobody).get(path).status_code == 403
    Grant.objects.create(user=nobody, role="viewer")
    assert Door(person=nobody).get(path).status_code == 200
