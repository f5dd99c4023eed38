"""Change requests: who may ask and agree, what an edit does to what was agreed, and when it happens."""

from datetime import timedelta
from typing import Any

import pytest

from portal import audit, jobs, keys
from portal.audit import Automaton
from portal.errors import Forbidden, Invalid, Refused, Stale
from portal.models import ApiKey, Environment, User
from rollouts import tasks
from rollouts.actions import change_requests, flags, segments
from rollouts.models import Approval, ChangeRequest, Flag, FlagConfig, FlagRevision, Segment
from rollouts.models.change_requests import Status
from tests import make

pytestmark = pytest.mark.django_db

ON = {"fallthrough": {"variant": "on"}}


@pytest.fixture
def production() -> Environment:
    return make.production()


@pytest.fixture
def flag(production: Environment) -> Flag:
    return make.flag("flag", on_in=[production])


@pytest.fixture
def dana() -> User:
    return make.person("dana", "captain")


@pytest.fixture
def ines() -> User:
    return make.person("ines", "approver")


def config(flag: Flag) -> FlagConfig:
    return FlagConfig.objects.get(flag=flag, environment__key="production")


def asked(flag: Flag, by: Any, document: dict[str, Any] | None = None, **given: Any) -> ChangeRequest:
    return change_requests.open(flag, make.production(), document or ON, by=by, **given)


def soon(seconds: float = 3600) -> Any:
    return jobs.database_now() + timedelta(seconds=seconds)


def come_due(request: ChangeRequest) -> None:
    """Time passes until then: apply_at is a person's word, so the row is moved into the past as a whole."""
    past = jobs.database_now() - timedelta(seconds=1)
    ChangeRequest.objects.filter(pk=request.pk).update(apply_at=past, due_at=past)


# --- By hand no longer ---------------------------------------------------------------------------
@pytest.mark.parametrize("by", ["captain", "superuser", "key", "automaton"])
def test_nobody_edits_by_hand_what_a_protected_environment_serves(flag: Flag, by: str) -> None:
    who: Any = {
        "captain": lambda: make.person("c", "captain", "owner"),
        "superuser": lambda: make.person("s", is_superuser=True),
        "key": lambda: _key(),
        "automaton": lambda: Automaton("a script"),
    }[by]()
    place = make.production()
    for edit in (
        lambda: flags.configure(flag, place, ON, by=who),
        lambda: flags.configure(flag, place, {"overrides": {"on": ["me"]}}, by=who),
        lambda: flags.configure(flag, place, ON | {"enabled": False}, by=who),
    ):
        with pytest.raises(Refused, match="/api/v1/change-requests/"):
            edit()
    assert config(flag).revision == 1
    flags.kill(flag, place, by=who)
    for edit in (lambda: flags.switch_on(flag, place, by=who), lambda: flags.restore(flag, place, 1, by=who)):
        with pytest.raises(Refused, match="protected"):
            edit()
    assert not config(flag).enabled


def test_switching_off_needs_no_request_however_it_is_said(flag: Flag, dana: User) -> None:
    flags.configure(flag, make.production(), {"enabled": False}, by=dana, because="errors")
    assert not config(flag).enabled


def test_saving_what_is_there_already_is_no_edit(flag: Flag, dana: User) -> None:
    assert flags.configure(flag, make.production(), config(flag).document(), by=dana).revision == 1


def test_what_is_wrong_is_named_before_it_is_said_that_a_request_is_needed(flag: Flag, dana: User) -> None:
    with pytest.raises(Invalid) as raised:
        flags.configure(flag, make.production(), {"fallthrough": {"variant": "blue"}}, by=dana)
    assert "fallthrough.variant" in raised.value.errors


def test_unprotected_environments_are_edited_by_hand(flag: Flag, dana: User) -> None:
    assert flags.configure(flag, make.environment(), ON, by=dana).revision == 1


def test_deployments_serve_and_let_go_without_a_request(production: Environment) -> None:
    run = make.deployment(environment=production, stages=[100])
    served = run.flags.get().flag
    options: Any = {"deployment": run.pk, "by": make.BY, "because": "stage"}
    assert flags.serve(served, production, variant="on", baseline="off", weight=5000, **options)
    assert flags.release(served, production, promote=True, **options)
    assert config(served).fallthrough == {"variant": "on"}


def test_the_value_of_a_variant_that_is_served_there_is_not_changed_by_hand(flag: Flag, dana: User) -> None:
    color = make.flag("color", variants={"off": "grey", "red": "#f00", "blue": "#00f"}, value_type="string")
    make.configure(color, make.production(), {"enabled": True, "fallthrough": {"variant": "red"}})
    darker = [{"key": "off", "value": "grey"}, {"key": "red", "value": "#a00"}, {"key": "blue", "value": "#00f"}]
    with pytest.raises(Refused, match="has red there"):
        flags.change(color, {"variants": darker}, by=dana)
    other = [{"key": "off", "value": "grey"}, {"key": "red", "value": "#f00"}, {"key": "green", "value": "#0f0"}]
    assert flags.change(color, {"variants": other}, by=dana), "nobody has another value from it"
    assert flags.change(color, {"description": "of the button"}, by=dana)


def test_a_segment_that_decides_there_is_not_changed_by_hand(flag: Flag, dana: User) -> None:
    segment = segments.create("staff", by=dana, included=["u1"])
    assert segments.change(segment, {"included": ["u2"]}, by=dana), "nobody uses it yet"
    outer = segments.create("all", by=dana, conditions=[{"op": "segment", "values": ["staff"]}])
    make.configure(flag, make.production(), {"rules": [{"segments": ["all"], "serve": {"variant": "on"}}]})
    for one in (segment, outer):
        with pytest.raises(Refused, match=r"decides whom flag flag reaches in production.*change-requests"):
            segments.change(one, {"included": ["u3"]}, by=dana)
    assert segments.change(segment, {"name": "Our staff"}, by=dana), "a name decides nothing"
    with pytest.raises(Refused, match="change-requests"):
        segments.restore("staff", 1, by=dana)


def test_a_flag_that_is_on_there_is_not_archived(flag: Flag, dana: User) -> None:
    with pytest.raises(Refused, match="switch it off there first"):
        flags.archive(flag, by=dana)
    flags.kill(flag, make.production(), by=dana)
    assert flags.archive(flag, by=dana)


def test_what_comes_back_from_the_archive_is_off_where_it_is_protected_by_now(dana: User) -> None:
    place = make.environment()
    flag = make.flag("back", on_in=[place], serving="on")
    flags.archive(flag, by=dana)
    Environment.objects.filter(pk=place.pk).update(protected=True, approval_policy="four_eyes")
    assert flags.unarchive(flag, by=dana, because="still needed")
    assert not flags.unarchive(flag, by=dana)
    assert not FlagConfig.objects.get(flag=flag).enabled
    said = list(audit.of(flag).values_list("verb", flat=True)[:2])
    assert said == ["flag.killed", "flag.unarchived"]


# --- Asking --------------------------------------------------------------------------------------
def test_a_request_carries_the_diff_and_changes_nothing(flag: Flag, dana: User) -> None:
    request = asked(flag, dana, because="ready")
    assert request.changes() == {"fallthrough": [{"variant": "off"}, {"variant": "on"}]}
    assert (request.status, request.base_revision, request.title) == ("open", 1, "flag flag in production: fallthrough")
    assert config(flag).fallthrough == {"variant": "off"}
    assert audit.of(request).get().verb == "changerequest.asked"


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({"fallthrough": {"variant": "blue"}}, "document.fallthrough.variant"),
        ({"fallthrough": {"variant": "on", "rollout": 101}}, "document.fallthrough.rollout"),
        ({"colour": "blue"}, "document.colour"),
        ({"rules": [{"segments": ["nobody"], "serve": {"variant": "on"}}]}, "document.rules[0].segments[0]"),
        ({"prerequisites": [{"flag": "flag", "variants": ["on"]}]}, "document.prerequisites[0].flag"),
        ({"enabled": True}, "document"),
        ([], "document"),
        ("on", "document"),
    ],
)
def test_what_could_not_be_applied_is_not_asked_for(flag: Flag, dana: User, document: Any, field: str) -> None:
    with pytest.raises(Invalid) as raised:
        change_requests.open(flag, make.production(), document, by=dana)
    assert field in raised.value.errors
    assert not ChangeRequest.objects.exclude(status="applied").exists()


def test_only_who_may_operate_there_asks(flag: Flag) -> None:
    for who in (make.person("vic", "viewer"), make.person("olu", "operator", environment=make.environment())):
        with pytest.raises(Forbidden):
            asked(flag, who)


def test_times_in_the_past_and_novels_are_refused_by_name(flag: Flag, dana: User) -> None:
    with pytest.raises(Invalid, match="apply_at: lies in the past"):
        asked(flag, dana, apply_at=soon(-1))
    with pytest.raises(Invalid, match="title: is longer"):
        asked(flag, dana, title="x" * 201)
    with pytest.raises(Invalid, match="because: may not contain NUL"):
        asked(flag, dana, because="\0")


# --- Agreeing ------------------------------------------------------------------------------------
def test_somebody_else_approves_and_it_is_applied(flag: Flag, dana: User, ines: User) -> None:
    request = asked(flag, dana)
    with pytest.raises(Refused, match="not approved: 1 more person"):
        change_requests.apply(request, by=dana)
    assert change_requests.approve(request, by=ines, comment="fine")
    assert not change_requests.approve(request, by=ines), "once is enough"
    assert request.status == Status.APPROVED
    assert change_requests.apply(request, by=dana)
    assert not change_requests.apply(request, by=dana), "a retry does nothing"
    assert config(flag).fallthrough == {"variant": "on"}
    revision = FlagRevision.objects.get(flag=flag, environment__key="production", number=2)
    assert (revision.change_request_id, revision.actor) == (request.pk, "dana")
    assert "approved by ines" in revision.because
    assert (request.status, request.applied_revision) == ("applied", 2)


def test_the_author_never_approves_superuser_or_not(flag: Flag) -> None:
    root = make.person("root", "approver", "captain", is_superuser=True)
    request = asked(flag, root)
    with pytest.raises(Refused, match="somebody else has to approve it"):
        change_requests.approve(request, by=root)
    with pytest.raises(Refused, match="somebody else"):
        change_requests.reject(request, by=root, because="mine")


def test_whoever_edited_it_does_not_approve_it(flag: Flag, dana: User) -> None:
    both = make.person("both", "captain", "approver")
    request = asked(flag, dana)
    change_requests.edit(request, {"overrides": {"on": ["u1"]}}, by=both)
    with pytest.raises(Refused, match="both has edited change request"):
        change_requests.approve(request, by=both)


def test_a_key_never_approves_and_who_made_the_key_does_not_either(flag: Flag) -> None:
    ken = make.person("ken", "owner", "approver")
    key = _key(by=ken)
    request = asked(flag, key)
    with pytest.raises(Forbidden, match="only people do"):
        change_requests.approve(request, by=key)
    with pytest.raises(Refused, match="written with an API key of ken"):
        change_requests.approve(request, by=ken)


def test_an_approver_of_elsewhere_does_not_count(flag: Flag, dana: User) -> None:
    request = asked(flag, dana)
    for who in (make.person("a", "approver", environment=make.environment()), make.person("b", "owner"), dana):
        with pytest.raises((Forbidden, Refused)):
            change_requests.approve(request, by=who)


@pytest.mark.parametrize(
    "edit", [{"document": {"fallthrough": {"variant": "on", "rollout": 1}}}, {"title": "other"}, {"because": "other"}]
)
def test_edited_after_approval_means_that_the_approval_is_gone(
    flag: Flag, dana: User, ines: User, edit: dict[str, Any]
) -> None:
    request = asked(flag, dana)
    change_requests.approve(request, by=ines)
    assert not change_requests.edit(request, ON, by=dana), "the same again is no edit"
    assert request.status == Status.APPROVED
    assert change_requests.edit(request, by=dana, **edit)
    assert request.status == Status.OPEN
    with pytest.raises(Refused, match="not approved"):
        change_requests.apply(request, by=dana)
    assert change_requests.approve(request, by=ines), "of what it is now"
    assert change_requests.apply(request, by=dana)
    assert Approval.objects.filter(change_request=request).count() == 2


def test_nobody_approves_what_he_has_not_seen(flag: Flag, dana: User, ines: User) -> None:
    request = asked(flag, dana)
    seen = request.hash
    change_requests.edit(request, {"overrides": {"on": ["u1"]}}, by=dana)
    with pytest.raises(Stale):
        change_requests.approve(request, by=ines, expected_hash=seen)
    with pytest.raises(Stale):
        change_requests.edit(request, {"overrides": {}}, by=dana, expected_hash=seen)


def test_the_word_of_somebody_who_is_gone_does_not_count(flag: Flag, dana: User, ines: User) -> None:
    request = asked(flag, dana)
    change_requests.approve(request, by=ines)
    User.objects.filter(pk=ines.pk).update(is_active=False)
    with pytest.raises(Refused, match="not approved"):
        change_requests.apply(request, by=dana)
    assert change_requests.approve(request, by=make.person("ivo", "approver"))
    assert change_requests.apply(request, by=dana)


def test_a_rejected_request_says_why_and_may_be_asked_anew(flag: Flag, dana: User, ines: User) -> None:
    request = asked(flag, dana)
    with pytest.raises(Invalid, match="because"):
        change_requests.reject(request, by=ines, because=" ")
    assert change_requests.reject(request, by=ines, because="too early")
    assert (request.status, request.held_because) == ("rejected", "too early")
    with pytest.raises(Refused, match="is rejected"):
        change_requests.apply(request, by=dana)
    assert change_requests.edit(request, {"fallthrough": {"variant": "on", "rollout": 5}}, by=dana)
    assert request.status == Status.OPEN


def test_a_withdrawn_request_is_over(flag: Flag, dana: User, ines: User) -> None:
    request = asked(flag, dana)
    assert change_requests.withdraw(request, by=dana)
    assert not change_requests.withdraw(request, by=dana)
    for verb in (
        lambda: change_requests.approve(request, by=ines),
        lambda: change_requests.edit(request, {"overrides": {"on": ["u1"]}}, by=dana),
        lambda: change_requests.schedule(request, soon(), by=dana),
        lambda: change_requests.rebase(request, by=dana),
    ):
        with pytest.raises(Refused, match="is withdrawn"):
            verb()


def test_where_nobody_has_decided_on_approval_nothing_is_applied(dana: User, ines: User) -> None:
    place = make.environment("lab", policy="")
    request = change_requests.open(make.flag("flag"), place, {"enabled": True}, by=dana)
    for verb in (
        lambda: change_requests.approve(request, by=ines),
        lambda: change_requests.apply(request, by=dana),
    ):
        with pytest.raises(Refused, match="nobody has decided whether lab needs approval"):
            verb()


def test_where_no_approval_is_needed_a_request_is_applied_at_once(dana: User) -> None:
    place = make.environment()
    request = change_requests.open(make.flag("flag"), place, {"enabled": True}, by=dana)
    assert change_requests.apply(request, by=dana)
    assert FlagConfig.objects.get().enabled


def test_it_needs_approval_as_soon_as_the_environment_does(dana: User) -> None:
    place = make.environment()
    request = change_requests.open(make.flag("flag"), place, {"enabled": True}, by=dana, apply_at=soon())
    assert request.status == Status.SCHEDULED
    Environment.objects.filter(pk=place.pk).update(approval_policy="four_eyes")
    come_due(request)
    assert tasks.apply_changes() == 1
    request.refresh_from_db()
    assert request.status == Status.OPEN
    assert "not approved" in request.held_because
    assert not FlagConfig.objects.exists()


# --- What it was made on has changed -------------------------------------------------------------
def test_a_request_on_an_older_revision_is_not_applied_until_it_is_rebased(flag: Flag, dana: User, ines: User) -> None:
    request = asked(flag, dana, {"overrides": {"on": ["u1"]}})
    change_requests.approve(request, by=ines)
    flags.kill(flag, make.production(), by=dana)
    make.configure(flag, make.production(), {"fallthrough": {"variant": "on", "rollout": 5}})
    for verb in (
        lambda: change_requests.apply(request, by=dana),
        lambda: change_requests.schedule(request, soon(), by=dana),
    ):
        with pytest.raises(Stale, match="made on revision 1 of flag flag in production, it is 3 now"):
            verb()
    assert change_requests.rebase(request, by=dana) == []
    assert (request.status, request.base_revision) == ("open", 3)
    assert request.changes() == {"overrides": [{}, {"on": ["u1"]}]}, "the kill is not undone"
    change_requests.approve(request, by=ines)
    change_requests.apply(request, by=dana)
    found = config(flag)
    assert (found.enabled, found.fallthrough["rollout"], found.overrides) == (False, 5000, {"on": ["u1"]})


def test_rebasing_names_what_both_have_changed(flag: Flag, dana: User) -> None:
    request = asked(flag, dana)
    make.configure(flag, make.production(), {"fallthrough": {"variant": "on", "rollout": 5}})
    assert change_requests.rebase(request, by=dana) == ["fallthrough"]
    assert request.changes() == {"fallthrough": [{"variant": "on", "rollout": 5000}, {"variant": "on"}]}
    assert change_requests.rebase(request, by=dana) == [], "nothing is newer"


def test_what_is_there_already_is_not_rebased_but_withdrawn(flag: Flag, dana: User) -> None:
    request = asked(flag, dana)
    make.configure(flag, make.production(), ON)
    with pytest.raises(Refused, match="is there already: withdraw it"):
        change_requests.rebase(request, by=dana)


# --- On schedule ---------------------------------------------------------------------------------
def test_it_is_applied_when_its_time_has_come_and_once(flag: Flag, dana: User, ines: User) -> None:
    request = asked(flag, dana, apply_at=soon())
    assert request.status == Status.OPEN
    change_requests.approve(request, by=ines)
    assert request.status == Status.SCHEDULED
    assert tasks.apply_changes() == 0
    come_due(request)
    assert tasks.apply_changes() == 1
    assert tasks.apply_changes() == 0
    request.refresh_from_db()
    assert (request.status, config(flag).revision) == ("applied", 2)
    revision = FlagRevision.objects.get(flag=flag, environment__key="production", number=2)
    assert revision.actor == f"change request {request.pk}"


def test_another_time_is_really_another_time(flag: Flag, dana: User, ines: User) -> None:
    request = asked(flag, dana, apply_at=soon(60))
    change_requests.approve(request, by=ines)
    come_due(request)
    later = soon(7200)
    assert change_requests.schedule(request, later, by=dana)
    assert not change_requests.schedule(request, later, by=dana)
    assert tasks.apply_changes() == 0, "the old time has passed, and is not its time any longer"
    assert (request.status, request.due_at) == ("scheduled", later)
    with pytest.raises(Invalid, match="apply_at"):
        change_requests.schedule(request, soon(-5), by=dana)
    assert change_requests.unschedule(request, by=dana)
    assert (request.status, request.apply_at, request.due_at) == ("approved", None, None)
    assert config(flag).revision == 1


def test_an_edit_takes_the_schedule_off_until_it_is_approved_again(flag: Flag, dana: User, ines: User) -> None:
    request = asked(flag, dana, apply_at=soon())
    change_requests.approve(request, by=ines)
    change_requests.edit(request, {"overrides": {"on": ["u1"]}}, by=dana)
    come_due_unscheduled = ChangeRequest.objects.get(pk=request.pk)
    assert (come_due_unscheduled.status, come_due_unscheduled.due_at) == ("open", None)
    assert tasks.apply_changes() == 0
    change_requests.approve(request, by=ines)
    assert request.status == Status.SCHEDULED


def test_approval_after_its_time_does_not_apply_it_by_surprise(flag: Flag, dana: User, ines: User) -> None:
    request = asked(flag, dana, apply_at=soon())
    ChangeRequest.objects.filter(pk=request.pk).update(apply_at=jobs.database_now() - timedelta(hours=1))
    change_requests.approve(request, by=ines)
    assert request.status == Status.APPROVED
    assert "its time had passed" in request.held_because
    assert tasks.apply_changes() == 0


def test_at_its_time_an_outdated_one_becomes_stale(flag: Flag, dana: User, ines: User) -> None:
    request = asked(flag, dana, apply_at=soon())
    change_requests.approve(request, by=ines)
    flags.kill(flag, make.production(), by=dana)
    come_due(request)
    tasks.apply_changes()
    request.refresh_from_db()
    assert request.status == Status.STALE
    assert "it is 2 now" in request.held_because
    assert not config(flag).enabled
    change_requests.rebase(request, by=dana)
    assert request.status == Status.OPEN


def test_at_its_time_a_refused_one_says_by_what(dana: User) -> None:
    place = make.environment()
    flag = make.flag("flag", on_in=[place])
    request = change_requests.open(flag, place, ON, by=dana, apply_at=soon())
    flags.archive(flag, by=dana)
    come_due(request)
    tasks.apply_changes()
    request.refresh_from_db()
    assert (request.status, request.held_because) == ("failed", "flag flag is archived")
    flags.unarchive(flag, by=dana)
    assert change_requests.schedule(request, soon(), by=dana)
    assert request.status == Status.SCHEDULED


# --- Variants and segments -----------------------------------------------------------------------
def test_a_variants_value_is_changed_by_request(flag: Flag, dana: User, ines: User) -> None:
    color = make.flag("color", variants={"off": "grey", "red": "#f00"}, value_type="string", on_in=[make.production()])
    darker = {"variants": [{"key": "off", "value": "#888"}, {"key": "red", "value": "#a00"}]}
    request = change_requests.open_variants(color, darker, by=dana)
    with pytest.raises(Refused, match="not approved"):
        change_requests.apply(request, by=dana)
    change_requests.approve(request, by=ines)
    change_requests.apply(request, by=dana)
    color.refresh_from_db()
    assert [one["value"] for one in color.variants] == ["#888", "#a00"]
    with pytest.raises(Invalid) as raised:
        change_requests.open_variants(color, {"variants": [{"key": "off", "value": 3}]}, by=dana)
    assert "document.variants[0].value" in raised.value.errors


def test_a_segment_is_changed_by_request(flag: Flag, dana: User, ines: User) -> None:
    segment = segments.create("staff", by=dana, included=["u1"])
    with pytest.raises(Refused, match="edit it by hand"):
        change_requests.open_segment(segment, {"included": ["u2"]}, by=dana)
    make.configure(flag, make.production(), {"rules": [{"segments": ["staff"], "serve": {"variant": "on"}}]})
    request = change_requests.open_segment(segment, {"included": ["u2"]}, by=dana)
    with pytest.raises(Invalid) as raised:
        change_requests.edit(request, {"excluded": ["u2"]}, by=dana)
    assert "document.excluded" in raised.value.errors
    change_requests.approve(request, by=ines)
    change_requests.apply(request, by=dana)
    assert Segment.objects.get().included == ["u2"]


def _key(by: Any = make.BY) -> ApiKey:
    return keys.create("key", scopes=["admin"], by=by)[0]
