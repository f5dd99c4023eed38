"""The demo's plans: how releases reached people last month, and how fast the live one does."""

from typing import Any

from portal.demo import scene

ERRORS_AT_MOST = 0.05  # of the new build's requests; beyond it is taken back
ERRORS_TO_GO_ON = 0.02
SECONDS_AT_MOST = 0.9  # p95
SECONDS_TO_GO_ON = 0.6
STARS_AT_LEAST = 2.5


def canary(build: str, *, quick: bool) -> dict[str, Any]:
    """To one of the two builds of the checkout. `quick`: minutes instead of hours, so that a newcomer sees it all."""
    arm = {"flag": scene.FLAG, "variant": build}
    window = 60 if quick else 300
    gates = [_errors_gate(arm, window), _seconds_gate(arm, window)]
    dwells = (120, 90, 60) if quick else (1800, 3600, 1800)
    stages = zip(("canary", "beta", "everybody"), (5, 25, 100), dwells, strict=True)
    return {
        "stages": [
            {
                "name": name,
                "weight": weight,
                "dwell": dwell,
                "max_dwell": dwell * 10,
                "min_sample": 100,
                "gates": gates,
            }
            for name, weight, dwell in stages
        ],
        "guardrails": [
            {
                "kind": "threshold",
                "name": f"errors of {build}",
                "metric": scene.ERRORS,
                "denominator": scene.REQUESTS,
                "matchers": arm,
                "aggregation": "increase",
                "operator": ">",
                "error": ERRORS_AT_MOST,
                "window": 30 if quick else 300,
                "interval": 2 if quick else 15,
                "for": 2 if quick else 30,
                "min_count": 40 if quick else 200,
            },
            {
                "kind": "threshold",
                "name": f"p95 of {build}",
                "metric": scene.LATENCY,
                "matchers": arm,
                "aggregation": "p95",
                "operator": ">",
                "error": SECONDS_AT_MOST,
                "window": 30 if quick else 300,
                "interval": 2 if quick else 15,
                "for": 2 if quick else 30,
                "min_count": 40 if quick else 200,
            },
            {
                "kind": "threshold",
                "name": f"satisfaction with {build}",
                "metric": "satisfaction",
                "matchers": {"service": scene.SERVICE, **arm},
                "aggregation": "mean",
                "operator": "<",
                "error": STARS_AT_LEAST,
                "window": 60 if quick else 3600,
                "interval": 2 if quick else 60,
                "min_count": 4,
            },
        ],
        "watch": 600 if quick else 3600,
    }


def standard() -> dict[str, Any]:
    """A tenth, half, everybody; guarded by the service's own error rate."""
    stages = zip(("a tenth", "half", "everybody"), (10, 50, 100), (1200, 2400, 1200), strict=True)
    return {
        "stages": [
            {"name": name, "weight": weight, "dwell": dwell, "gates": [_errors_gate({}, 300)]}
            for name, weight, dwell in stages
        ],
        "guardrails": [_service_errors()],
        "watch": 3600,
    }


def with_approval() -> dict[str, Any]:
    """For what touches money: a tenth first, then somebody who did not start it has to say go."""
    return {
        "stages": [
            {"name": "a tenth", "weight": 10, "dwell": 0, "gates": [{"kind": "approval", "rule": "four_eyes"}]},
            {"name": "half", "weight": 50, "dwell": 120, "gates": [_errors_gate({}, 60)]},
            {"name": "everybody", "weight": 100, "dwell": 60, "gates": [_errors_gate({}, 60)]},
        ],
        "guardrails": [_service_errors()],
        "watch": 3600,
    }


def straight() -> dict[str, Any]:
    """Staging: to everybody at once, then a look."""
    return {
        "stages": [
            {"name": "everybody", "weight": 100, "dwell": 300, "gates": [{"kind": "soak", "seconds": 300}]},
        ],
        "guardrails": [],
        "watch": 3600,
    }


def _errors_gate(matchers: dict[str, str], window: int) -> dict[str, Any]:
    return {
        "kind": "metric",
        "metric": scene.ERRORS,
        "denominator": scene.REQUESTS,
        "matchers": matchers,
        "operator": "<",
        "value": ERRORS_TO_GO_ON,
        "window": window,
        "min_count": 60,
    }


def _seconds_gate(matchers: dict[str, str], window: int) -> dict[str, Any]:
    return {
        "kind": "metric",
        "metric": scene.LATENCY,
        "matchers": matchers,
        "aggregation": "p95",
        "operator": "<",
        "value": SECONDS_TO_GO_ON,
        "window": window,
        "min_count": 60,
    }


def _service_errors() -> dict[str, Any]:
    return {
        "kind": "threshold",
        "name": "errors of the service",
        "metric": scene.ERRORS,
        "denominator": scene.REQUESTS,
        "aggregation": "increase",
        "operator": ">",
        "error": ERRORS_AT_MOST,
        "window": 300,
        "interval": 15,
        "for": 30,
        "min_count": 500,
    }
