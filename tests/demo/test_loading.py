"""The demo as it is loaded: all of it once, and its past as consistent as if it had happened."""

import json
import stat
from collections import Counter
from collections.abc import Iterator
from io import StringIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client

from feedback.models import Entry
from monitoring.models import Incident, Sample, Series, Threshold, TimelineEntry
from portal import audit, jobs, keys
from portal.demo import scene
from portal.errors import Refused
from portal.management.demo import loading
from portal.management.demo.cast import CAST, MARK, PASSWORD
from portal.management.demo.loading import Loaded
from portal.models import ApiKey, AuditEntry, Environment, Grant, Seat, Service, User
from rollouts import snapshots
from rollouts.actions import deployments, flags
from rollouts.engine.evaluate import evaluate
from rollouts.models import Deployment, Flag, FlagConfig, FlagRevision, Gate, Release, Stage
from rollouts.models.deployments import Status
from tests import make
from tests.demo import once

EVERYTHING = (
    *(AuditEntry, ApiKey, Deployment, Entry, Flag, FlagConfig, FlagRevision, Gate, Grant, Incident, Release, Sample),
    *(Seat, Series, Stage, Threshold, TimelineEntry, User),
)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def loaded(django_db_setup: None, django_db_blocker: Any, data_dir: Path) -> Iterator[Loaded]:
    with once.demo(django_db_blocker, data_dir) as found:
        yield found


def counts() -> dict[str, int]:
    return {model.__name__: model._default_manager.count() for model in EVERYTHING}


def test_it_is_loaded_quickly(loaded: Loaded, capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(f"\nthe demo was loaded in {loaded.seconds:.1f} s: {loaded}")
    assert loaded.deployments > 50
    assert loaded.samples > 30_000


def test_loading_again_changes_nothing(loaded: Loaded, data_dir: Path) -> None:
    before, held = counts(), (data_dir / scene.KEYS_FILE).read_bytes()
    assert loading.load(data_dir) == Loaded()
    assert counts() == before
    assert (data_dir / scene.KEYS_FILE).read_bytes() == held


def test_its_people_sign_in_with_the_password_that_is_shown(loaded: Loaded) -> None:
    assert [seat.user.username for seat in Seat.objects.all()] == [part.username for part in CAST]
    assert all(seat.user.check_password(PASSWORD) for seat in Seat.objects.all())
    assert not User.objects.filter(is_superuser=True).exists()


def test_the_services_keys_are_for_its_owner_alone(loaded: Loaded, data_dir: Path) -> None:
    path = data_dir / scene.KEYS_FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    held = json.loads(path.read_text())
    for scope, raw in held.items():
        key = ApiKey.objects.get(digest=keys.digest(raw))
        assert key.scopes == [scope]
        assert [place.key for place in key.environments.all()] == [scene.ENVIRONMENT]


def test_lost_keys_are_replaced_and_the_old_ones_end(loaded: Loaded, data_dir: Path) -> None:
    path = data_dir / scene.KEYS_FILE
    old = json.loads(path.read_text())
    path.unlink()
    loading.load(data_dir)
    new = json.loads(path.read_text())
    assert set(new) == set(old)
    assert not ApiKey.objects.filter(digest__in=[keys.digest(raw) for raw in old.values()], revoked_at=None).exists()
    assert ApiKey.objects.filter(digest__in=[keys.digest(raw) for raw in new.values()], revoked_at=None).count() == 5


def test_the_command_says_no_key(loaded: Loaded, data_dir: Path, settings: Any) -> None:
    settings.DATA_DIR = data_dir
    said = StringIO()
    call_command("demo", stdout=said)
    assert "loaded already" in said.getvalue()
    assert not [raw for raw in json.loads((data_dir / scene.KEYS_FILE).read_text()).values() if raw in said.getvalue()]


def test_what_is_made_up_is_marked(loaded: Loaded) -> None:
    line = AuditEntry.objects.get(verb="demo.loaded")
    assert MARK in line.because
    assert not AuditEntry.objects.filter(at__lt=line.at).exclude(request_id=MARK).exists()
    assert not AuditEntry.objects.filter(at__gte=line.at, request_id=MARK).exists()


def test_the_trail_runs_forward_and_its_chain_proves(loaded: Loaded) -> None:
    moments = list(AuditEntry.objects.order_by("id").values_list("at", flat=True))
    assert moments == sorted(moments)
    while audit.seal():
        pass
    assert AuditEntry.objects.filter(position=None).count() == 0
    assert audit.broken_links() == []


def ended() -> list[Deployment]:
    return list(Deployment.objects.filter(ended_at__isnull=False).select_related("plan", "release"))


def test_each_run_of_the_past_went_the_way_that_runs_go(loaded: Loaded) -> None:
    seen: Counter[str] = Counter()
    for deployment in ended():
        lines = list(audit.of(deployment).order_by("id"))
        moved = [line for line in lines if line.after and "status" in line.after]
        path = ["draft", *(dict(line.after or {})["status"] for line in moved)]
        for before, after in pairwise(path):
            assert after in {str(to) for to in Deployment.MOVES[before]}, (deployment, path)
        assert path[-1] == deployment.status
        assert all(dict(line.before or {})["status"] == was for line, was in zip(moved, path, strict=False))
        weights = [
            dict(line.after or {})["weight"] for line in lines if line.verb.endswith(("stage_entered", "advanced"))
        ]
        stages = list(deployment.stages.all())
        assert weights == [stage.weight for stage in stages][: len(weights)]
        assert len(weights) == (deployment.stage_index or 0) + 1
        assert [line.at for line in lines] == sorted(line.at for line in lines)
        assert lines[0].at == deployment.created_at
        assert deployment.ended_at == lines[-1].at
        assert not deployment.live
        seen[deployment.status] += 1
    assert seen == {"succeeded": 56, "rolled_back": 2}


def test_every_gate_that_was_passed_says_why(loaded: Loaded) -> None:
    for deployment in ended():
        for stage in deployment.stages.filter(index__lt=deployment.stage_index):
            assert [gate.outcome for gate in stage.gates.all()] == ["passed"] * stage.gates.count()
            assert all(gate.checked_at and len(gate.reason) > 10 for gate in stage.gates.all())


def test_timelines_have_no_gaps_and_run_forward(loaded: Loaded) -> None:
    for incident in Incident.objects.all():
        lines = list(incident.timeline.all())
        assert [line.seq for line in lines] == list(range(1, incident.entries + 1))
        assert [line.at for line in lines] == sorted(line.at for line in lines)
        assert all(line.text for line in lines)


def test_each_rollback_has_its_incident_and_says_the_same(loaded: Loaded) -> None:
    back = Deployment.objects.filter(status=Status.ROLLED_BACK)
    assert back.count() == 2
    for deployment in back:
        incident = Incident.objects.get(target=f"deployment:{deployment.pk}")
        assert incident.status == Incident.Status.CLOSED
        assert incident.description in deployment.held_because
        assert " > 5 %" in incident.description
        assert incident.alerts.get().status == "resolved"
        assert incident.runs.get().status == "done"
        said = " ".join(line.text for line in incident.timeline.all())
        assert "what we change" in said


def test_flags_keep_every_revision_and_the_last_is_what_they_do(loaded: Loaded) -> None:
    for config in FlagConfig.objects.select_related("flag", "environment"):
        kept = FlagRevision.objects.filter(flag=config.flag, environment=config.environment).order_by("number")
        assert [one.number for one in kept] == list(range(1, config.revision + 1))
        assert [*kept][-1].document == {**config.document(), "reserved": config.reserved}
        for before, after in pairwise(kept):
            assert {name: pair[1] for name, pair in after.diff.items()} == {
                name: value for name, value in after.document.items() if before.document[name] != value
            }
            assert before.at <= after.at


def test_every_flag_answers_and_can_go_back(loaded: Loaded) -> None:
    for config in FlagConfig.objects.select_related("flag", "environment"):
        snapshot = snapshots.fresh(config.environment, config.flag.key)
        result = evaluate(snapshot, config.flag.key, {"targetingKey": "customer-007", "country": "PL"}, now=0.0)
        assert result.error is None, (config, result.message)
    flag = Flag.objects.get(key="new-address-form")
    production = Environment.objects.get(key=scene.ENVIRONMENT)
    restored = flags.restore(flag, production, 1, by=make.BY)
    assert restored.fallthrough["rollout"] == 10_000


def test_a_canary_is_on_its_way_and_an_approval_is_waited_for(loaded: Loaded) -> None:
    live = Deployment.objects.get(status=Status.PROGRESSING, service__key=scene.SERVICE)
    assert (live.release.version, live.weight) == (scene.FIRST_LIVE_VERSION, 5000)
    assert Threshold.objects.active().filter(owner=f"deployment:{live.pk}").count() == 3
    assert all(one["value"] is not None for one in live.baseline_captured if "satisfaction" not in one["name"])
    waiting = Deployment.objects.get(service__key="payments", live=True)
    deployments.reconcile(waiting, now=jobs.database_now())
    waiting.refresh_from_db()
    assert (waiting.status, waiting.paused_reason) == (Status.PAUSED, "approval")


def test_counters_never_fall_and_run_up_to_now(loaded: Loaded) -> None:
    line = AuditEntry.objects.get(verb="demo.loaded")
    for series in Series.objects.filter(metric__name__in=(scene.REQUESTS, scene.ERRORS)):
        samples = list(Sample.objects.filter(series=series).order_by("time").values_list("time", "value"))
        assert all((before[1] or 0) <= (after[1] or 0) for before, after in pairwise(samples))
        assert (line.at - samples[-1][0]).total_seconds() < 60


def test_feedback_came_in_two_languages_and_is_judged(loaded: Loaded) -> None:
    said = Entry.objects.all()
    assert {entry.language for entry in said} == {"en", "pl"}
    judged = Counter(entry.sentiment for entry in said)
    assert judged["positive"] > judged["negative"] > 10
    assert Sample.objects.filter(series__metric__name="satisfaction").exists()
    assert not said.exclude(uncounted_because="").exists()
    about = said.filter(release="2026.46")
    assert about.count() >= 10
    assert all((entry.rating or 5) <= 2 for entry in about)


@pytest.mark.django_db
def test_where_somebody_works_already_nothing_is_loaded(tmp_path: Path) -> None:
    make.service("their-own")
    before = counts()
    with pytest.raises(Refused, match="there is the service their-own"):
        loading.load(tmp_path)
    assert counts() == before
    assert Service.objects.count() == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.django_db
def test_somebody_who_has_a_seats_name_keeps_it(tmp_path: Path) -> None:
    make.person("dana")
    with pytest.raises(Refused, match="dana"):
        loading.load(tmp_path)
    assert not Seat.objects.exists()


def test_the_public_page_tells_of_the_months_outages_and_what_is_to_come(loaded: Loaded) -> None:
    found = Client().get("/status/api/v2/summary.json").json()
    assert found["status"]["description"] == "All Systems Operational"
    assert [one["name"] for one in found["components"]] == ["Checkout", "Payments", "Search"]
    assert [one["status"] for one in found["scheduled_maintenances"]] == ["scheduled"]
    past = Client().get("/status/api/v2/incidents.json").json()["incidents"]
    assert past
    assert {one["status"] for one in past} == {"resolved"}
    assert all(len(one["incident_updates"]) == 3 for one in past)
