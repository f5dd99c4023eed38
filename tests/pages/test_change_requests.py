"""The pages of change requests: what changes in words, who may press what, and where they wait for somebody."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from portal.models import Environment, User
from rollouts.actions import change_requests, flags, segments
from rollouts.models import ChangeRequest, ContextSample, Flag, FlagConfig
from rollouts.views import change_words
from tests import make
from tests.make import BY
from tests.pages import seats

pytestmark = pytest.mark.django_db
ON = {"fallthrough": {"variant": "on"}}


@pytest.fixture
def place() -> Environment:
    return make.production()


@pytest.fixture
def flag(place: Environment) -> Flag:
    return make.flag("lamp", on_in=[place])


@pytest.fixture
def dana() -> User:
    return make.person("dana", "captain", is_staff=True)


@pytest.fixture
def ines() -> User:
    return make.person("ines", "approver")


def _page(client: Client, one: ChangeRequest) -> str:
    return client.get(reverse("change-request", args=[one.pk])).content.decode()


def _post(client: Client, name: str, one: ChangeRequest, *args: Any, **given: str) -> str:
    return client.post(reverse(name, args=[one.pk, *args]), given, follow=True).content.decode()


def test_the_difference_is_told_rule_by_rule(flag: Flag, place: Environment, dana: User) -> None:
    rules = [
        {"id": "de", "all": [{"attr": "country", "op": "equals", "values": ["DE"]}], "serve": {"variant": "on"}},
        {"id": "pl", "all": [{"attr": "country", "op": "equals", "values": ["PL"]}], "serve": {"variant": "on"}},
    ]
    make.configure(flag, place, {"rules": rules, "overrides": {"on": ["u1", "u2"]}})
    changed = [rules[1] | {"serve": {"variant": "on", "rollout": 25}}, {"serve": {"variant": "off"}}]
    request = change_requests.open(
        flag, place, {"rules": changed, "overrides": {"on": ["u2", "u3"]}, "fallthrough": {"variant": "on"}}, by=dana
    )
    assert change_words.lines(request) == [
        ("rule de", "country is DE: on", ""),
        ("rule pl", "country is PL: on", "country is PL: on for 25 %"),
        ("rule rule-1", "", "everyone: off"),
        ("everyone else", "off", "on"),
        ("on by name", "u1", "u3"),
    ]
    shown = _page(seats.seat(dana), request)
    assert "<del>country is PL: on</del>" in shown
    assert "<ins>country is PL: on for 25 %</ins>" in shown


def test_variants_and_segments_are_told_in_words(flag: Flag, place: Environment, dana: User) -> None:
    segment = segments.create("staff", by=BY, included=["u1"])
    make.configure(flag, place, {"rules": [{"segments": ["staff"], "serve": {"variant": "on"}}]})
    swapped = {"variants": [{"key": "on", "value": False}, {"key": "off", "value": True}]}
    assert change_words.lines(change_requests.open_variants(flag, swapped, by=dana)) == [
        ("variant on", "true", "false"), ("variant off", "false", "true"),
    ]  # fmt: skip
    wish = {"included": ["u2"], "conditions": [{"attr": "plan", "op": "equals", "values": ["pro"]}]}
    request = change_requests.open_segment(segment, wish, by=dana)
    assert sorted(change_words.lines(request)) == [("conditions", "", "plan is pro"), ("included", "u1", "u2")]


def test_approved_and_applied_with_buttons(flag: Flag, place: Environment, dana: User, ines: User) -> None:
    request = change_requests.open(flag, place, ON, by=dana, because="<b>ready</b>")
    captain, approver = seats.seat(dana), seats.seat(ines)
    shown = _page(captain, request)
    assert "You are no approver" in shown
    assert "&lt;b&gt;ready&lt;/b&gt;" in shown
    assert "It is not approved yet." in shown
    assert "is not approved" in _post(captain, "change-request-press", request, "apply")
    seen = _page(approver, request)
    assert f'name="hash" value="{request.hash}"' in seen
    said = _post(approver, "change-request-vote", request, value="approve", comment="fine", hash=request.hash)
    assert "counts" in said
    assert "is applied" in _post(captain, "change-request-press", request, "apply")
    assert FlagConfig.objects.get().fallthrough == {"variant": "on"}
    assert "Done: it is revision 2" in _page(captain, request)


def test_a_page_that_was_open_too_long_approves_nothing(flag: Flag, place: Environment, dana: User, ines: User) -> None:
    request = change_requests.open(flag, place, ON, by=dana)
    seen = request.hash
    captain, approver = seats.seat(dana), seats.seat(ines)
    given = {"title": "other", "because": "", "hash": seen, "document": '{"overrides": {"on": ["u1"]}}'}
    assert "is changed" in _post(captain, "change-request-edit", request, **given)
    assert "look at it again" in _post(approver, "change-request-vote", request, value="approve", hash=seen)
    request.refresh_from_db()
    assert (request.status, request.approvals.count()) == ("open", 0)


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        ("vote", {"value": "maybe"}, "must be approve or reject"),
        ("vote", {"value": "reject", "comment": ""}, "say why"),
        ("schedule", {"apply_at": "soon"}, "choose a day"),
        ("schedule", {"apply_at": "2020-01-01T00:00"}, "lies in the past"),
        ("edit", {"document": "{", "title": "t", "because": ""}, "is not JSON"),
        ("edit", {"document": "[" * 5000, "title": "t", "because": ""}, "is not JSON"),
        ("edit", {"document": '{"enabled": NaN}', "title": "t", "because": ""}, "is not JSON"),
        ("edit", {"document": '{"rules": 3}', "title": "t", "because": ""}, "must be a list"),
    ],
)
def test_nonsense_is_refused_in_words(
    flag: Flag, place: Environment, name: str, given: dict[str, str], words: str
) -> None:
    both = make.person("both", "captain", "approver")
    request = change_requests.open(flag, place, ON, by=BY)
    assert words in _post(seats.seat(both), f"change-request-{name}", request, **given)
    request.refresh_from_db()
    assert (request.status, request.apply_at) == ("open", None)


def test_outdated_ones_say_so_and_are_rebased(flag: Flag, place: Environment, dana: User) -> None:
    request = change_requests.open(flag, place, ON, by=dana)
    make.configure(flag, place, {"fallthrough": {"variant": "on", "rollout": 5}})
    captain = seats.seat(dana)
    assert "Made on revision 1, it is 2 now" in _page(captain, request)
    assert "Outdated" in captain.get(reverse("change-requests")).content.decode()
    said = _post(captain, "change-request-rebase", request)
    assert "is made on revision 2 now" in said
    assert "undone by it: fallthrough" in said


def test_it_waits_on_mission_control_for_whom_it_waits(flag: Flag, place: Environment, dana: User, ines: User) -> None:
    request = change_requests.open(flag, place, ON, by=dana, title="Light for all")
    needs = reverse("home-part", args=["needs"])
    assert "Light for all" not in seats.seat(dana).get(needs).content.decode()
    approver = seats.seat(ines)
    assert "Light for all" in approver.get(needs).content.decode()
    answer = approver.post(
        reverse("change-request-vote", args=[request.pk]), {"value": "approve", "hash": request.hash, "back": "/"}
    )
    assert answer.headers["Location"] == "/"
    assert "Light for all" not in approver.get(needs).content.decode()


def test_whom_it_would_move_is_told_and_never_0_percent_of_nobody(flag: Flag, place: Environment, dana: User) -> None:
    request = change_requests.open(flag, place, ON, by=dana)
    captain, address = seats.seat(dana), reverse("change-request-impact", args=[request.pk])
    shown = captain.get(address).content.decode()
    assert "no contexts seen yet" in shown
    assert "%" not in shown
    for n in range(4):
        ContextSample.objects.create(
            environment=place, unit=f"u{n}", identity=f"u{n}", context={"targetingKey": f"u{n}"}
        )
    assert "4 of the last 4 contexts change: off → on 4" in captain.get(address).content.decode()
    change_requests.withdraw(request, by=dana)
    assert "moves nobody any longer" in captain.get(address).content.decode()


def test_the_flags_page_asks_where_it_may_not_do(flag: Flag, place: Environment, dana: User) -> None:
    captain = seats.seat(dana)
    flags.kill(flag, place, by=dana)
    page = reverse("flag", args=["lamp"])
    assert "Ask to switch on" in captain.get(page).content.decode()
    answer = captain.post(reverse("flag-switch", args=["lamp", "production", "on"]), {"because": "fixed"}, follow=True)
    assert "production is protected: change request" in answer.content.decode()
    request = ChangeRequest.objects.pending().get()
    assert request.changes() == {"enabled": [False, True]}
    captain.post(reverse("flag-restore", args=["lamp", "production", 1]), {"because": "as it was"})
    assert ChangeRequest.objects.pending().count() == 2
    assert not FlagConfig.objects.get().enabled
    shown = captain.get(page).content.decode()
    assert "Asked for" in shown
    assert reverse("change-request", args=[request.pk]) in shown


def test_the_flags_page_says_where_it_is_used(flag: Flag, place: Environment, dana: User) -> None:
    child = make.flag("child")
    segments.create("staff", by=BY, included=["u1"])
    needs = {"prerequisites": [{"flag": "lamp", "variants": ["on"]}]}
    make.configure(child, place, needs | {"rules": [{"segments": ["staff"], "serve": {"variant": "on"}}]})
    captain = seats.seat(dana)
    assert "Needed by" in captain.get(reverse("flag", args=["lamp"])).content.decode()
    shown = captain.get(reverse("flag", args=["child"])).content.decode()
    assert reverse("flag", args=["lamp"]) in shown
    assert f'href="{reverse("segment", args=["staff"])}">staff</a> in production' in shown


def test_a_segment_is_brought_back_by_hand_or_by_request(flag: Flag, place: Environment, dana: User) -> None:
    segment = segments.create("staff", by=BY, included=["u1"])
    segments.change(segment, {"included": ["u2"]}, by=BY)
    captain, address = seats.seat(dana), reverse("segment-restore", args=["staff", 1])
    page = reverse("segment", args=["staff"])
    assert address in captain.get(page).content.decode()
    assert "it is revision 3" in captain.post(address, {"because": "too early"}, follow=True).content.decode()
    make.configure(flag, place, {"rules": [{"segments": ["staff"], "serve": {"variant": "on"}}]})
    again = reverse("segment-restore", args=["staff", 2])
    assert "Nothing has changed yet" in captain.post(again, {"because": "as planned"}, follow=True).content.decode()
    request = ChangeRequest.objects.pending().get()
    assert request.changes() == {"included": [["u1"], ["u2"]]}
    assert reverse("change-request", args=[request.pk]) in captain.get(page).content.decode()
    assert captain.post(reverse("segment-restore", args=["staff", 99]), {}).status_code == 404


# --- In the admin ---------------------------------------------------------------------------------
def _press(client: Client, one: ChangeRequest, name: str, **given: str) -> str:
    address = reverse("admin:rollouts_changerequest_press", args=[one.pk, name])
    return client.post(address, given, follow=True).content.decode()


def test_the_admin_asks_edits_and_applies_but_the_author_approves_nothing(flag: Flag, place: Environment) -> None:
    root = make.person("root", "captain", "approver", is_superuser=True, is_staff=True)
    ivo = make.person("ivo", "approver", is_superuser=True, is_staff=True)
    boss, other = seats.seat(root), seats.seat(ivo)
    given = {"flag": str(flag.pk), "environment": str(place.pk), "title": "", "because": "ready", "apply_at_0": ""}
    given |= {"apply_at_1": "", "document": '{"fallthrough": {"variant": "blue"}}', "about_segment": ""}
    inline = {"approvals-TOTAL_FORMS": "0", "approvals-INITIAL_FORMS": "0"}
    add = reverse("admin:rollouts_changerequest_add")
    assert "document.fallthrough.variant" in boss.post(add, given).content.decode()
    answer = boss.post(add, given | {"document": '{"fallthrough": {"variant": "on"}}'})
    assert answer.status_code == 302, answer.content.decode()
    request = ChangeRequest.objects.pending().get()
    assert "somebody else has to approve it" in _press(boss, request, "approve")
    assert "look at it again" in _press(other, request, "approve", seen="0" * 64)
    change = reverse("admin:rollouts_changerequest_change", args=[request.pk])
    edited = {"title": "New", "because": "", "document": '{"overrides": {"on": ["u1"]}}', "seen_hash": request.hash}
    edited |= {"apply_at_0": "2020-01-01", "apply_at_1": "10:00:00"}
    assert "lies in the past" in boss.post(change, edited | inline).content.decode()
    request.refresh_from_db()
    assert request.title != "New", "nothing of it is saved"
    later = edited | {"apply_at_0": "2100-01-01"}
    assert boss.post(change, later | inline).status_code == 302
    request.refresh_from_db()
    assert (request.title, request.apply_at and request.apply_at.year) == ("New", 2100)
    assert "your approval counts" in _press(other, request, "approve", seen=request.hash)
    request.refresh_from_db()
    assert request.status == "scheduled"
    assert "is applied: revision 2" in _press(boss, request, "apply")
    config = reverse("admin:rollouts_flagconfig_change", args=[FlagConfig.objects.get().pk])
    by_hand = {"enabled": "on", "off_variant": "off", "fallthrough": '{"variant": "off"}', "seen_revision": "2"}
    assert "change request that somebody else approves" in boss.post(config, by_hand).content.decode()
