"""Two at once, and workers killed in the middle: every change request is settled once."""

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connections

from portal import audit, jobs
from portal.errors import Refused, Stale
from rollouts import tasks
from rollouts.actions import change_requests, flags
from rollouts.models import Approval, ChangeRequest, Flag, FlagConfig, FlagRevision
from tests import make
from tests.monitoring import watching
from tests.rollouts.test_deployments_races import at_once
from tests.running import ROOT

pytestmark = pytest.mark.django_db(transaction=True)
ON = {"fallthrough": {"variant": "on"}}


@pytest.fixture(autouse=True)
def _connections_are_closed() -> Iterator[None]:
    yield
    connections.close_all()


@pytest.fixture
def flag() -> Flag:
    return make.flag("lamp", on_in=[make.production()])


def asked(flag: Flag, document: dict[str, Any] | None = None) -> ChangeRequest:
    return change_requests.open(flag, make.production(), document or ON, by=make.BY)


def copy_of(request: ChangeRequest) -> ChangeRequest:
    return ChangeRequest.objects.get(pk=request.pk)


def test_of_many_last_approvals_exactly_one_counts(flag: Flag) -> None:
    request = asked(flag)
    people = [make.person(f"approver{n}", "approver") for n in range(6)]
    found = at_once(*(lambda one=one: change_requests.approve(copy_of(request), by=one) for one in people))
    assert found.count(True) == 1
    assert sum(isinstance(one, Refused) for one in found) == 5
    assert Approval.objects.filter(change_request=request).count() == 1
    assert audit.of(request).filter(verb="changerequest.approved").count() == 1


def test_of_many_who_apply_it_one_does(flag: Flag) -> None:
    request = asked(flag)
    change_requests.approve(request, by=make.approver())
    found = at_once(*(lambda: change_requests.apply(copy_of(request), by=make.BY) for _ in range(5)))
    assert sorted(found) == [False, False, False, False, True]
    assert FlagRevision.objects.filter(change_request=request).count() == 1


def test_of_two_requests_on_one_revision_the_second_is_outdated(flag: Flag) -> None:
    requests = [asked(flag), asked(flag, {"overrides": {"on": ["u1"]}})]
    for one in requests:
        change_requests.approve(one, by=make.approver())
    found = at_once(*(lambda one=one: change_requests.apply(copy_of(one), by=make.BY) for one in requests))
    assert sum(one is True for one in found) == 1
    assert sum(isinstance(one, Stale) for one in found) == 1
    assert FlagConfig.objects.get().revision == 2


@pytest.mark.parametrize("attempt", range(3))
def test_an_approval_beside_an_edit_never_applies_what_nobody_saw(flag: Flag, attempt: int) -> None:
    request = asked(flag)
    seen, other = request.hash, {"overrides": {"on": ["somebody"]}}
    approver = make.approver("paul")
    at_once(
        lambda: change_requests.approve(copy_of(request), by=approver, expected_hash=seen),
        lambda: change_requests.edit(copy_of(request), other, by=make.BY),
    )
    request.refresh_from_db()
    assert request.status == "open", "whoever was first, what was approved is not what is asked for"
    with pytest.raises(Refused):
        change_requests.apply(request, by=make.BY)


def test_a_change_by_hand_or_deployment_beside_an_apply_makes_whole_revisions(flag: Flag) -> None:
    request = asked(flag)
    change_requests.approve(request, by=make.approver())
    place = make.production()
    serving: Any = {"deployment": 7, "variant": "on", "baseline": "off", "weight": 5000, "by": make.BY}
    found = at_once(
        lambda: change_requests.apply(copy_of(request), by=make.BY),
        lambda: flags.kill(Flag.objects.get(pk=flag.pk), place, by=make.BY),
        lambda: flags.serve(Flag.objects.get(pk=flag.pk), place, because="canary", **serving),
    )
    assert not [one for one in found if isinstance(one, Exception) and not isinstance(one, Stale | Refused)]
    numbers = FlagRevision.objects.filter(environment=place).order_by("number").values_list("number", flat=True)
    assert list(numbers) == list(range(1, FlagConfig.objects.get().revision + 1))


def test_sweeps_and_people_at_once_apply_a_due_one_once(flag: Flag) -> None:
    request = asked(flag)
    change_requests.approve(request, by=make.approver())
    change_requests.schedule(request, jobs.database_now() + timedelta(hours=1), by=make.BY)
    past = jobs.database_now() - timedelta(seconds=1)
    ChangeRequest.objects.filter(pk=request.pk).update(apply_at=past, due_at=past)
    found = at_once(
        *[tasks.apply_changes] * 3, lambda: change_requests.apply(copy_of(request), by=make.BY),
    )  # fmt: skip
    assert sum(int(one) for one in found) == 1
    assert FlagRevision.objects.filter(change_request=request).count() == 1


def test_a_new_time_beside_the_sweep_is_kept_or_came_too_late(flag: Flag) -> None:
    request = asked(flag)
    change_requests.approve(request, by=make.approver())
    change_requests.schedule(request, jobs.database_now() + timedelta(hours=1), by=make.BY)
    past, later = jobs.database_now() - timedelta(seconds=1), jobs.database_now() + timedelta(hours=3)
    ChangeRequest.objects.filter(pk=request.pk).update(apply_at=past, due_at=past)
    applied, moved = at_once(tasks.apply_changes, lambda: change_requests.schedule(copy_of(request), later, by=make.BY))
    request.refresh_from_db()
    if request.status == "applied":
        assert (applied, type(moved)) == (1, Refused)
    else:
        assert (applied, moved, request.status, request.due_at) == (0, True, "scheduled", later)
        assert FlagConfig.objects.get().revision == 1


def test_killed_before_every_statement_in_turn_it_is_applied_once(flag: Flag) -> None:
    request = asked(flag)
    change_requests.approve(request, by=make.approver())
    change_requests.schedule(request, jobs.database_now() + timedelta(hours=1), by=make.BY)
    past = jobs.database_now() - timedelta(seconds=1)
    ChangeRequest.objects.filter(pk=request.pk).update(apply_at=past, due_at=past)
    done = subprocess.run(
        [sys.executable, "-m", "tests.rollouts.changes.killed_appliers"],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": watching.database_url()},
        timeout=200,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    killed = int(done.stdout)
    print(f"{killed} workers killed")
    assert killed > 20
    request.refresh_from_db()
    assert (request.status, FlagConfig.objects.get().revision) == ("applied", 2)
    assert FlagRevision.objects.filter(change_request=request).count() == 1
    assert audit.of(request).filter(verb="changerequest.applied").count() == 1
