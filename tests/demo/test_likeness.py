"""The past is told in the words that the product itself uses: whoever changes those is told here."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from monitoring.models import Incident, IncidentDefinition, TimelineEntry
from portal import jobs
from portal.management.demo.cast import MARK
from portal.management.demo.loading import Loaded
from portal.models import AuditEntry
from rollouts.actions import deployments
from rollouts.models import Deployment
from tests import make
from tests.demo import once

GUARDRAIL = {
    "kind": "threshold",
    "name": "errors",
    "metric": "http_errors_total",
    "denominator": "http_requests_total",
    "operator": ">",
    "error": 0.05,
}
# What the product writes of a run and the story leaves out: there was no schedule, nobody paused.
Shape = tuple[frozenset[str], frozenset[str]]


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def loaded(django_db_setup: None, django_db_blocker: Any, data_dir: Path) -> Iterator[Loaded]:
    with once.demo(django_db_blocker, data_dir) as found:
        yield found


def shapes(made_up: bool) -> dict[str, set[Shape]]:
    """Of each verb, the fields that its lines carry before and after."""
    found: dict[str, set[Shape]] = defaultdict(set)
    lines = AuditEntry.objects.filter(request_id=MARK) if made_up else AuditEntry.objects.exclude(request_id=MARK)
    for line in lines:
        found[line.verb].add((frozenset(line.before or ()), frozenset(line.after or ())))
    return found


def finished() -> Deployment:
    made = make.progressing(stages=[50, 100], guardrails=[GUARDRAIL], watch=0, environment=make.environment("lab"))
    make.reconciled(made, 3)
    return made


def taken_back() -> Deployment:
    service = make.service("other")
    made = make.progressing(
        stages=[50, 100], dwell=600, guardrails=[GUARDRAIL], release=make.release(service=service),
        environment=make.environment("lab"),
    )  # fmt: skip
    deployments.roll_back(made, by=make.BY, because="a try")
    return made


def test_a_run_of_the_past_reads_like_one_of_today(loaded: Loaded) -> None:
    assert finished().live is False
    taken_back()
    told, real = shapes(made_up=True), shapes(made_up=False)
    compared = [verb for verb in told if verb in real]
    assert {
        "deployment.created",
        "deployment.progressing",
        "deployment.stage_entered",
        "deployment.advanced",
        "deployment.succeeded",
        "deployment.watch_ended",
        "deployment.rolling_back",
        "deployment.rolled_back",
        "threshold.created",
        "threshold.removed",
        "release.created",
        "plan.created",
        "flag.served",
        "flag.released",
    } <= set(compared)
    for verb in compared:
        assert told[verb] <= real[verb] or verb.startswith(("flag.", "plan.")), (verb, told[verb], real[verb])


def test_no_actor_of_the_past_is_unknown_to_the_present(loaded: Loaded) -> None:
    """Automata are named as they name themselves."""
    named = set(AuditEntry.objects.filter(request_id=MARK, actor_kind="automaton").values_list("actor", flat=True))
    known = {"deployments sweep", "deployments", "incident response", "incident responses", "judging", "errors"}
    assert {name for name in named if not name.startswith("deployment ")} <= known


def test_the_kinds_of_timeline_entries_are_the_products_own(loaded: Loaded) -> None:
    made_up = Incident.objects.filter(status=Incident.Status.CLOSED)
    kinds = set(TimelineEntry.objects.filter(incident__in=made_up).values_list("kind", flat=True))
    assert kinds == {
        "opened", "response.queued", "response.done", "alert.resolved", "mitigated", "acknowledged", "note",
        "resolved", "closed",
    }  # fmt: skip
    assert IncidentDefinition.objects.filter(key="release-misbehaves").exists()
    assert jobs.database_now() > max(incident.closed_at for incident in made_up if incident.closed_at)
