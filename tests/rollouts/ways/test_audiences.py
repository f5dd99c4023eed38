"""People join and leave of their own accord, by a signed link or through the API; evaluation follows at once."""

import time
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.test import Client

from portal.errors import Invalid, Refused
from portal.models import AuditEntry, Environment
from rollouts import snapshots
from rollouts.actions import audience_links, audiences, flags, segments
from rollouts.engine.evaluate import evaluate
from rollouts.models import Audience, AudienceMember, Segment
from rollouts.snapshots import Store
from rollouts.views import join
from tests import make
from tests.web import Web

pytestmark = pytest.mark.django_db


@pytest.fixture
def place() -> Environment:
    return make.environment("production")


@pytest.fixture(autouse=True)
def _fresh_limiter() -> None:
    join._limiter.cache_clear()


def audience(key: str = "beta", **fields: Any) -> Audience:
    return audiences.create(key, by=make.BY, **fields)


def served(place: Environment, key: str = "new-search", segment: str = "beta") -> None:
    """A flag that is on for the segment."""
    flag = make.flag(key)
    rules = [{"segments": [segment], "serve": {"variant": "on"}}]
    flags.configure(flag, place, {"enabled": True, "off_variant": "off", "rules": rules}, by=make.BY)


def gets(place: Environment, unit: str, key: str = "new-search", **context: Any) -> str | None:
    shot = snapshots.fresh(place, key)
    return evaluate(shot, key, {"targetingKey": unit, **context}, now=time.time()).variant


def link(made: Audience, **options: Any) -> str:
    return urlsplit(audience_links.make(made, by=make.BY, **options)[0]).path


# --- Whom it decides ----------------------------------------------------------------------------
def test_who_joins_belongs_and_who_leaves_does_not_whatever_the_conditions_say(place: Environment) -> None:
    conditions = [{"attr": "plan", "op": "equals", "values": ["pro"]}]
    segments.create("beta", by=make.BY, conditions=conditions, included=["ivy"], excluded=["eve"])
    made = audience(segment="beta")
    served(place)
    assert [gets(place, unit) for unit in ("ann", "ivy", "eve")] == ["off", "on", "off"]
    assert gets(place, "pia", plan="pro") == "on"
    assert audiences.enrol(made, ["ann", "eve"], joined=True, by=make.BY) == ["ann", "eve"]
    assert audiences.enrol(made, ["pia", "ivy"], joined=False, by=make.BY) == ["pia", "ivy"]
    # What the team has excluded stays out; who has left is out even where the conditions hold.
    assert [gets(place, unit) for unit in ("ann", "ivy", "eve")] == ["on", "off", "off"]
    assert gets(place, "pia", plan="pro") == "off"
    assert audiences.enrol(made, ["ann"], joined=True, by=make.BY) == []
    made.refresh_from_db()
    assert made.members_joined == 2


@pytest.mark.django_db(transaction=True)
def test_a_held_snapshot_follows_without_compiling_anything(place: Environment) -> None:
    made = audience()
    segments.create("testers", by=make.BY, conditions=[{"op": "segment", "values": ["beta"]}])
    served(place, segment="testers")
    make.flag("other", on_in=[place])
    store = Store()
    store.refresh()
    held = store.snapshots["production"]

    def variant(unit: str) -> str | None:
        return evaluate(store.snapshots["production"], "new-search", {"targetingKey": unit}, now=time.time()).variant

    audiences.enrol(made, ["ann", "bob"], joined=True, by=make.BY)
    assert store.refresh()
    assert store.snapshots["production"].flags is held.flags
    # Clients that listen are told of another version.
    assert store.snapshots["production"].version > held.version
    assert [variant("ann"), variant("bob"), variant("joe")] == ["on", "on", "off"]
    audiences.enrol(made, ["bob"], joined=False, by=make.BY)
    store.refresh()
    assert [variant("ann"), variant("bob")] == ["on", "off"]
    # An edit of the segment's own lists keeps everybody's word.
    segments.change(Segment.objects.get(key="beta"), {"included": ["joe", "bob"], "excluded": ["ann"]}, by=make.BY)
    store.refresh()
    assert [variant("ann"), variant("bob"), variant("joe")] == ["off", "off", "on"]
    audiences.enrol(made, ["bob"], joined=True, by=make.BY)
    store.refresh()
    assert [variant("ann"), variant("bob")] == ["off", "on"]
    again = Store()
    again.refresh()
    for unit in ("ann", "bob", "joe"):
        anew = evaluate(again.snapshots["production"], "new-search", {"targetingKey": unit}, now=0).variant
        assert anew == variant(unit) == gets(place, unit)


def test_a_preview_for_many_contexts_knows_every_member(place: Environment) -> None:
    made = audience()
    served(place)
    audiences.enrol(made, [f"u{n}" for n in range(0, 200, 2)], joined=True, by=make.BY)
    shot = snapshots.fresh(place, "new-search")
    got = [evaluate(shot, "new-search", {"targetingKey": f"u{n}"}, now=0).variant for n in range(200)]
    assert got == ["on", "off"] * 100


@pytest.mark.django_db(transaction=True)
def test_an_audience_made_anew_begins_with_nobody(place: Environment) -> None:
    made = audience()
    audiences.enrol(made, ["ann"], joined=True, by=make.BY)
    store = Store()
    store.refresh()
    audiences.delete(made, by=make.BY)
    audience(segment="beta")
    served(place)
    store.refresh()
    assert evaluate(store.snapshots["production"], "new-search", {"targetingKey": "ann"}, now=0).variant == "off"


# --- Joining by a link --------------------------------------------------------------------------
def test_a_person_joins_by_the_button_of_the_page_not_by_looking(place: Environment) -> None:
    made = audience(name="The new search", description="It may be slow.")
    served(place)
    browser = Client(enforce_csrf_checks=True)
    there = link(made, unit="ann")
    page = browser.get(there)
    assert page.status_code == 200
    assert b"The new search" in page.content
    assert b">Join<" in page.content
    browser.head(there)
    assert not AudienceMember.objects.exists()
    assert not [name for name in page.cookies if name.startswith("flightdeck")]
    joined = browser.post(there, {"action": "join"})
    assert (joined.status_code, joined["Location"]) == (302, there)
    assert joined.cookies["flightdeck_audiences"].value == "beta"
    assert b">Leave<" in browser.get(there).content
    assert gets(place, "ann") == "on"
    entry = AuditEntry.objects.latest("id")
    assert entry.after is not None
    assert (entry.verb, entry.actor, entry.after["first"]) == ("audience.joined", "link to audience beta", ["ann"])
    browser.post(there, {"action": "leave"})
    assert b"You do not take part." in browser.get(there).content
    assert gets(place, "ann") == "off"


def test_an_application_gets_json() -> None:
    there = link(audience(), unit="ann")
    answer = Client(headers={"Accept": "application/json"}).post(there)
    assert answer.json() == {
        "audience": "beta", "unit": "ann", "joined": True, "attributes": {"audiences": ["beta"], "targetingKey": "ann"},
    }  # fmt: skip
    audiences.enrol(audience("gamma"), ["ann"], joined=True, by=make.BY)
    looked = Client(headers={"Accept": "application/json"}).get(there).json()
    assert looked["attributes"]["audiences"] == ["beta", "gamma"]
    wrong = Client(headers={"Accept": "application/json"}).post(there, {"action": "dance"})
    assert (wrong.status_code, wrong["Content-Type"]) == (400, "application/problem+json")


def test_a_link_for_anybody_makes_a_browser_one_unit_and_stays_with_it(place: Environment) -> None:
    made = audience()
    served(place)
    browser = Client()
    there = link(made)
    browser.post(there)
    unit = browser.cookies["flightdeck_unit"].value.partition(":")[0]
    assert unit.startswith("guest-")
    assert gets(place, unit) == "on"
    browser.post(there, {"action": "leave"})
    assert list(AudienceMember.objects.values_list("unit", "joined")) == [(unit, False)]
    forged = Client()
    forged.cookies["flightdeck_unit"] = "ann"
    forged.post(there)
    assert not AudienceMember.objects.filter(unit="ann").exists()


def test_links_end(monkeypatch: pytest.MonkeyPatch) -> None:
    made = audience()
    there = link(made, unit="ann", expires_in=60)
    later = link(made, unit="ann", expires_in=7200)
    now = time.time()
    with monkeypatch.context() as clock:
        clock.setattr(audience_links.time, "time", lambda: now + 61)
        assert Client().get(there).status_code == 410
        assert Client().get(later).status_code == 200
    audiences.revoke_links(made, by=make.BY)
    for one in (there, later):
        answer = Client().post(one)
        assert (answer.status_code, b"taken out of use" in answer.content) == (410, True)
    assert Client().get(link(made, unit="ann")).status_code == 200
    assert Client().get("/join/nonsense").status_code == 404
    assert Client().post(f"/join/{'x' * 5000}").status_code == 404
    assert not AudienceMember.objects.exists()


def test_a_form_of_another_site_does_not_join_for_anybody() -> None:
    there = link(audience(), unit="ann")
    assert Client(headers={"Sec-Fetch-Site": "cross-site"}).post(there).status_code == 403
    assert not AudienceMember.objects.exists()


def test_one_address_may_not_try_links_as_fast_as_it_likes(settings: Any) -> None:
    settings.PORTAL_JOIN_RATE = 1
    there = link(audience(), unit="ann")
    answers = [Client().get(there) for _ in range(5)]
    slowed = [one for one in answers if one.status_code == 429]
    assert slowed
    assert int(slowed[0]["Retry-After"]) >= 1


# --- Through the API ----------------------------------------------------------------------------
def api(*scopes: str, **bound: Any) -> Client:
    return Client(headers={"Authorization": f"Bearer {make.key(*scopes, **bound)}"})


def post(client: Client, path: str, body: Any) -> Any:
    return client.post(f"/api/v1/audiences/{path}", body, content_type="application/json")


def test_a_service_enrols_its_users(place: Environment) -> None:
    writer = api("write")
    assert post(writer, "", {"key": "beta", "capacity": 3}).json()["segment"] == "beta"
    served(place)
    answer = post(writer, "beta/members/", {"units": ["ann", "bob", "ann"]})
    assert answer.json() == {"audience": "beta", "joined": True, "changed": 2, "members": 2}
    assert post(writer, "beta/members/", {"unit": "bob", "action": "leave"}).json()["members"] == 1
    rows = writer.get("/api/v1/audiences/beta/members/", {"joined": "true"}).json()["results"]
    assert [row["unit"] for row in rows] == ["ann"]
    assert writer.get("/api/v1/audiences/beta/members/", {"unit": "bob"}).json()["results"][0]["joined"] is False
    full = post(writer, "beta/members/", {"units": ["c", "d", "e"]})
    assert (full.status_code, full.json()["detail"]) == (409, "audience beta takes 3 members and has room for 2")
    assert writer.patch("/api/v1/audiences/beta/", {"open": False}, content_type="application/json").status_code == 200
    assert "closed" in post(writer, "beta/members/", {"unit": "x"}).json()["detail"]
    assert post(writer, "beta/members/", {"unit": "ann", "action": "leave"}).status_code == 200
    url = post(writer, "beta/links/", {"unit": "zoe", "expires_in": 60}).json()["url"]
    assert Client().get(urlsplit(url).path).status_code == 200


@pytest.mark.parametrize(
    ("path", "body", "status", "field"),
    [
        ("beta/members/", {}, 400, "unit"), ("beta/members/", {"unit": "a", "units": ["b"]}, 400, "unit"),
        ("beta/members/", {"unit": ""}, 400, "unit"), ("beta/members/", {"unit": "a\0"}, 400, "unit"),
        ("beta/members/", {"units": ["a", 1.5, None]}, 400, None), ("beta/members/", {"unit": "x" * 1025}, 400, "unit"),
        ("beta/members/", {"unit": "a", "action": "dance"}, 400, "action"),
        ("beta/links/", {"expires_in": 59}, 400, "expires_in"), ("", {"key": "a/b"}, 400, "key"),
        ("", {"key": "c", "capacity": -1}, 400, "capacity"), ("", {"key": "c", "segment": "ghost"}, 400, "segment"),
        ("", {"key": "beta"}, 409, None), ("", {"key": "c", "segment": "beta"}, 409, None),
        ("ghost/members/", {"unit": "a"}, 404, None),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(path: str, body: Any, status: int, field: str | None) -> None:
    audience()
    answer = post(api("write"), path, body)
    assert answer.status_code == status
    if field:
        assert answer.json()["errors"][0]["field"].startswith(field)
    assert not AudienceMember.objects.exists()


def test_who_may_not_is_told_so(place: Environment) -> None:
    made = audience()
    served(place)
    staging = api("write", environments=[make.environment("staging")])
    assert post(staging, "beta/members/", {"unit": "a"}).status_code == 403
    assert post(api("read"), "beta/members/", {"unit": "a"}).status_code == 403
    assert post(api("evaluate", environments=[place]), "beta/members/", {"unit": "a"}).status_code == 403
    with pytest.raises(Refused, match="segment beta is used by flag new-search in production"):
        audiences.delete(made, by=make.BY)
    spare = audience("spare")
    with pytest.raises(Refused, match="segment spare is that of audience spare"):
        segments.delete(spare.segment, by=make.BY)
    with pytest.raises(Invalid, match="at most 10000"):
        audiences.enrol(made, [str(n) for n in range(10_001)], joined=True, by=make.BY)


@pytest.mark.django_db(transaction=True)
def test_a_serving_process_follows_within_the_second_with_a_hundred_thousand_members(place: Environment) -> None:
    made = audience()
    served(place)
    for start in range(0, 100_000, 10_000):
        audiences.enrol(made, [f"u{n}" for n in range(start, start + 10_000)], joined=True, by=make.BY)
    key = make.key("evaluate", environments=[place])
    with Web() as web:
        assert web.ofrep(key, "new-search", "u99999").json()["variant"] == "on"
        assert web.ofrep(key, "new-search", "late").json()["variant"] == "off"
        audiences.enrol(made, ["late"], joined=True, by=make.BY)
        audiences.enrol(made, ["u99999"], joined=False, by=make.BY)
        deadline = time.monotonic() + 20
        # Two writes: a process may have read the one before the other was there.
        for unit, variant in (("late", "on"), ("u99999", "off")):
            while web.ofrep(key, "new-search", unit).json()["variant"] != variant:
                assert time.monotonic() < deadline
                time.sleep(0.02)
