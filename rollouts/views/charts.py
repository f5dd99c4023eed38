"""What a deployment's chart shows: each guardrail's own measurement of both arms, its bound, and when stages began."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from django.utils import timezone

from monitoring.models import Metric, Threshold
from monitoring.queries.windows import Window, aggregates
from portal import audit
from rollouts.models import Deployment, Gate

STEP = 5  # seconds between two points
WHOLE = timedelta(minutes=15)
TAIL = timedelta(seconds=20)  # what may still change by samples that come late
AFTERWARDS = timedelta(minutes=2)
MOST_PANELS = 6
# What is marked on the time axis, and how; None: by the weight that the stage serves.
MARKED: Mapping[str, str | None] = {
    "deployment.stage_entered": None,
    "deployment.advanced": None,
    "deployment.paused": "paused",
    "deployment.succeeded": "succeeded",
    "deployment.rolled_back": "rolled back",
}


@dataclass(frozen=True, slots=True)
class Panel:
    """One small chart."""

    key: str
    title: str
    window: Window
    operator: str
    bound: float
    # The bound is of the difference from the baseline, or of the quotient by it; empty: of the value itself.
    against: str = ""


def snapshot(deployment: Deployment) -> dict[str, Any]:
    """The whole chart, as a page first asks for it."""
    return _frame(deployment, WHOLE)


def tail(deployment: Deployment) -> dict[str, Any]:
    """Its newest points, as they are told each second."""
    return _frame(deployment, TAIL)


def _frame(deployment: Deployment, length: timedelta) -> dict[str, Any]:
    until = _until(deployment)
    count = int(length.total_seconds()) // STEP
    if deployment.started_at is not None and length == WHOLE:
        # Not longer before the run than it takes to see what was normal.
        count = min(count, int((until - deployment.started_at + AFTERWARDS).total_seconds()) // STEP)
    panels = _panels(deployment)
    lines = [(panel, name, window) for panel in panels for name, window in _arms(panel, deployment)]
    backs = [back * STEP for back in range(max(count, 0), -1, -1)]
    asked = [replace(window, back=back) for _, _, window in lines for back in backs]
    answers = iter(aggregates(asked, now=until))
    units = dict(Metric.objects.filter(name__in=[panel.window.metric for panel in panels]).values_list("name", "unit"))
    series: dict[str, list[list[float | None]]] = {}
    for panel, name, _ in lines:
        scale = 100 if panel.window.denominator else 1
        series[f"{panel.key}:{name}"] = [
            [(until.timestamp() - back) * 1000, None if value is None else value * scale]
            for back, value in ((back, next(answers)[0].value) for back in backs)
        ]
    return {
        "step": STEP * 1000,
        "panels": [_shown(panel, deployment, units) for panel in panels],
        "series": series,
        "markers": _markers(deployment),
    }


def _until(deployment: Deployment) -> datetime:
    now = timezone.now()
    if not deployment.live and deployment.ended_at is not None:
        now = min(now, deployment.ended_at + AFTERWARDS)
    return datetime.fromtimestamp(now.timestamp() // STEP * STEP, UTC)


def _panels(deployment: Deployment) -> list[Panel]:
    guards = Threshold.objects.filter(owner=f"deployment:{deployment.pk}").order_by("-active", "-id")
    found: dict[str, Panel] = {}
    for guard in guards:
        # A retried run has copies of each; the newest one counts.
        found.setdefault(guard.name, _of_threshold(guard))
    if not found:
        for gate in Gate.objects.filter(stage__deployment=deployment, stage__epoch=deployment.epoch, kind="metric"):
            panel = _of_gate(gate, deployment)
            found.setdefault(panel.title, panel)
    return sorted(found.values(), key=lambda panel: panel.key)[:MOST_PANELS]


def _of_threshold(guard: Threshold) -> Panel:
    bound = next(value for value in (guard.error, guard.critical, guard.warning) if value is not None)
    window = Window(guard.metric, guard.aggregation, guard.window, guard.matchers, guard.denominator)
    against = guard.baseline_change if guard.baseline_kind else ""
    return Panel(f"t{guard.pk}", guard.name, window, guard.operator, bound, against)


def _of_gate(gate: Gate, deployment: Deployment) -> Panel:
    params = gate.params
    matchers = {"environment": deployment.environment.key, **params.get("matchers", {})}
    window = Window(params["metric"], params["aggregation"], params["window"], matchers, params.get("denominator", ""))
    return Panel(f"g{gate.pk}", params["metric"], window, params["operator"], params["value"])


def _arms(panel: Panel, deployment: Deployment) -> Iterator[tuple[str, Window]]:
    """The lines of a panel: the canary and its baseline, or the service as one."""
    matchers = panel.window.matchers
    for served in deployment.flags.all():
        if matchers.get("flag") == served.flag.key and matchers.get("variant") == served.variant:
            yield "canary", panel.window
            yield "baseline", replace(panel.window, matchers={**matchers, "variant": served.baseline})
            return
    yield ("canary" if matchers.get("release") == deployment.release.version else "service"), panel.window


def _shown(panel: Panel, deployment: Deployment, units: Mapping[str, str]) -> dict[str, Any]:
    is_share = bool(panel.window.denominator)
    unit = "%" if is_share else units.get(panel.window.metric, "")
    if panel.window.aggregation == "rate" and not is_share:
        unit = f"{unit}/s"
    bound = panel.bound * 100 if is_share and panel.against != "ratio" else panel.bound
    names = [name for name, _ in _arms(panel, deployment)]
    return {
        "key": panel.key,
        "title": panel.title,
        "unit": unit,
        "lines": names,
        "operator": panel.operator,
        "bound": bound,
        "against": panel.against,
        "window": panel.window.seconds,
    }


def _markers(deployment: Deployment) -> list[dict[str, Any]]:
    entries = audit.of(deployment).filter(verb__in=list(MARKED)).order_by("-id")[:50]
    found = []
    for entry in reversed(entries):
        label = MARKED[entry.verb]
        weight = (entry.after or {}).get("weight", 0)
        if label is None:
            label = f"{weight / 1000:g} %"
        found.append({"t": int(entry.at.timestamp() * 1000), "label": label})
    return found
