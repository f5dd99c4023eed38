"""What opens a stage, and what does not."""

from datetime import timedelta
from typing import Any

import pytest

from monitoring.actions import incidents
from monitoring.actions import metrics as definitions
from portal import jobs
from portal.verdicts import Outcome, Verdict
from rollouts.actions import deployments
from rollouts.gates import arms, registry
from rollouts.models import Deployment, Gate
from tests import make

pytestmark = pytest.mark.django_db


def gated(*gates: dict[str, Any], **stage: Any) -> Deployment:
    """In its first stage, which these gates shut."""
    first = {"name": "a few", "weight": 5, "dwell": 0, "gates": list(gates), **stage}
    return make.progressing(stages=[first, {"name": "all", "weight": 100, "dwell": 600}])


def metric(operator: str = "<", value: float = 2.0, **params: Any) -> dict[str, Any]:
    return {
        "kind": "metric",
        "metric": "latency",
        "aggregation": "mean",
        "operator": operator,
        "value": value,
        **params,
    }


def test_a_gate_without_data_holds_the_stage() -> None:
    deployment = make.reconciled(gated(metric(window=600)))
    assert deployment.weight == 5_000
    assert deployment.held_because == "metric: latency: no data in the last 10 min"
    assert deployment.due_at is not None


@pytest.mark.parametrize("operator", ["<", ">"])
def test_missing_data_opens_no_gate_whatever_it_asks(operator: str) -> None:
    deployment = make.reconciled(gated(metric(operator, 0.0)))
    gate = Gate.objects.get(stage__deployment=deployment)
    assert (gate.outcome, gate.count) == ("inconclusive", 0)


def test_too_few_hold_and_enough_open() -> None:
    deployment = gated(metric(min_count=3))
    make.measured("latency", 1.0, 1.0, service="checkout", environment="staging")
    assert "too few" in make.reconciled(deployment).held_because
    make.measured("latency", 1.0, ago=5, service="checkout", environment="staging")
    assert make.reconciled(deployment).weight == 100_000


def test_a_value_on_the_wrong_side_holds_and_says_what_it_was() -> None:
    deployment = gated(metric())
    make.measured("latency", 3.0, service="checkout", environment="staging")
    held = make.reconciled(deployment)
    assert held.weight == 5_000
    assert held.held_because.startswith("metric: latency 3 ≥ 2")
    assert Gate.objects.get(stage__deployment=deployment).outcome == "failed"


def test_a_ratio_is_growth_by_growth_and_counts_its_denominator() -> None:
    definitions.define("errors_total", by=make.BY, type="counter")
    deployment = gated(
        {
            "kind": "metric",
            "metric": "errors_total",
            "denominator": "requests_total",
            "operator": "<",
            "value": 0.02,
            "min_count": 100,
        }
    )
    place: dict[str, Any] = {"service": "checkout", "environment": "staging"}
    make.measured("errors_total", 10.0, 12.0, **place)
    make.measured("requests_total", 1000.0, 1050.0, every=2, **place)
    assert "too few" in make.reconciled(deployment).held_because
    make.measured("requests_total", 1200.0, ago=-1, **place)
    assert make.reconciled(deployment).weight == 100_000
    assert Gate.objects.get(stage__deployment=deployment, stage__index=0).count == 200


def test_another_environments_samples_open_no_gate() -> None:
    deployment = gated(metric())
    make.environment("production", policy="four_eyes")
    make.measured("latency", 1.0, service="checkout", environment="production")
    assert make.reconciled(deployment).weight == 5_000


def test_a_condition_about_a_flag_is_not_narrowed_to_the_service() -> None:
    deployment = make.deployment()
    assert arms.placed({"flag": "f", "variant": "on"}, deployment) == {
        "environment": "staging",
        "flag": "f",
        "variant": "on",
    }
    assert arms.placed({}, deployment) == {"environment": "staging", "service": "checkout"}
    assert arms.placed({"environment": "qa", "service": "shop"}, deployment) == {"environment": "qa", "service": "shop"}


def test_the_minimum_sample_is_the_smallest_count_of_the_metric_gates() -> None:
    deployment = gated(metric(), metric(matchers={"region": "nz"}), min_sample=2)
    place: dict[str, Any] = {"service": "checkout", "environment": "staging"}
    make.measured("latency", 1.0, 1.0, 1.0, **place)
    make.measured("latency", 1.0, region="nz", **place)
    assert make.reconciled(deployment).held_because == "sample: 1 of 2 needed"
    make.measured("latency", 1.0, ago=3, region="nz", **place)
    assert make.reconciled(deployment).weight == 100_000


def test_a_soak_is_waited_out() -> None:
    deployment = gated({"kind": "soak", "seconds": 120})
    now = jobs.database_now()
    deployments.reconcile(deployment, now=now + timedelta(seconds=100))
    deployment.refresh_from_db()
    assert deployment.weight == 5_000
    assert deployment.held_because.startswith("soak: served for")
    deployments.reconcile(deployment, now=now + timedelta(seconds=121))
    deployment.refresh_from_db()
    assert deployment.weight == 100_000


def test_an_open_incident_of_the_service_here_holds_until_it_is_resolved() -> None:
    deployment = gated({"kind": "no_open_incident"})
    elsewhere = make.environment("qa")
    incidents.open_by_hand("not here", by=make.BY, service=make.service(), environment=elsewhere)
    incidents.open_by_hand("not us", by=make.BY, service=make.service("shop"), environment=make.environment())
    ours = incidents.open_by_hand(
        "checkout is slow", by=make.BY, service=make.service(), environment=make.environment()
    )
    held = make.reconciled(deployment)
    assert held.weight == 5_000
    assert "checkout is slow" in held.held_because
    assert "not" not in held.held_because
    incidents.resolve(ours, by=make.BY)
    assert make.reconciled(deployment).weight == 100_000


def test_an_incident_that_names_no_service_concerns_everybody() -> None:
    deployment = gated({"kind": "no_open_incident"})
    incidents.open_by_hand("the building burns", by=make.BY)
    assert make.reconciled(deployment).weight == 5_000


def test_a_gate_that_breaks_is_an_error_and_holds_while_the_others_are_asked() -> None:
    deployment = gated(metric(), {"kind": "no_open_incident"})
    Gate.objects.filter(stage__deployment=deployment, kind="metric").update(params={"metric": "latency"})
    held = make.reconciled(deployment)
    assert held.weight == 5_000
    outcomes = dict(Gate.objects.filter(stage__deployment=deployment).values_list("kind", "outcome"))
    assert outcomes == {"metric": "error", "no_open_incident": "passed"}


def test_a_kind_that_nobody_knows_any_more_is_an_error_and_holds() -> None:
    deployment = gated({"kind": "no_open_incident"})
    Gate.objects.filter(stage__deployment=deployment).update(kind="horoscope")
    held = make.reconciled(deployment)
    assert held.weight == 5_000
    assert "horoscope" in held.held_because


def test_a_kind_is_registered_once() -> None:
    class Twice:
        name = "soak"
        waits_for_people = False
        measures = False

        def clean(self, params: Any) -> dict[str, Any]:
            return {}

        def check(self, deployment: Any, stage: Any, params: Any, *, now: Any) -> registry.Answer:
            return registry.Answer(Verdict(Outcome.PASSED, "always"))

    with pytest.raises(ValueError, match="two kinds of gates are named soak"):
        registry.register(Twice())
    assert registry.names() == ["approval", "metric", "no_open_incident", "soak"]
