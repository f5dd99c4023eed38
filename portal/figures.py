"""What this process counts of its own work, in Prometheus' terms; `portal.selfwatch` shows it."""

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics

# The time at which a counter began is another series for each: Prometheus finds resets by the value.
disable_created_metrics()

REGISTRY = CollectorRegistry()
REQUESTS = Histogram(
    "flightdeck_request_duration_seconds",
    "Requests, until their answer begins, by door and class of status",
    ("door", "status"),
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
    registry=REGISTRY,
)
INGESTED = Counter(
    "flightdeck_ingest_samples", "Samples by outcome: accepted, duplicate, conflict", ("outcome",), registry=REGISTRY
)
REJECTED = Counter(
    "flightdeck_ingest_rejected", "What was turned away at the ways in, by way in", ("source",), registry=REGISTRY
)
EVALUATIONS = Counter(
    "flightdeck_flag_evaluations", "Flags evaluated by OFREP, each flag of a bulk request once", ("kind",),
    registry=REGISTRY,
)  # fmt: skip

_DOORS = (
    ("/ofrep/", "ofrep"), ("/ingest/", "ingest"), ("/api/v1/samples/", "ingest"), ("/api/v1/events/", "ingest"),
    ("/api/v1/errors/", "ingest"),
    ("/api/", "api"), ("/admin/", "admin"), ("/static/", "static"), ("/status/", "status"), ("/hooks/", "hooks"),
    ("/health/", "health"), ("/metrics", "metrics"),
)  # fmt: skip


def door_of(path: str) -> str:
    """The door that a path belongs to: a dozen at the most, whatever strangers ask for."""
    return next((door for start, door in _DOORS if path.startswith(start)), "pages")
