"""A service as its authors write it with the OpenTelemetry SDK: it counts and times until it is told to stop.

Addresses and the key come by the SDK's own variables (OTEL_EXPORTER_OTLP_…). A line on its input stops it: it flushes
and prints as JSON what it has counted and timed. SCRAPE_PORT has the same times as a Prometheus histogram.
"""

import json
import os
import random
import sys
import threading
import time
from typing import Any

import prometheus_client
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import (
    Aggregation,
    ExplicitBucketHistogramAggregation,
    ExponentialBucketHistogramAggregation,
)
from opentelemetry.sdk.resources import Resource

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  # seconds
EVERY = 0.02  # seconds
AT_ONCE = 20  # requests: of few values a high percentile is any of several
SHUTS_WITHIN = 90_000  # milliseconds; the last pause is half a minute
PLACE = {"service.name": "checkout", "deployment.environment.name": "staging"}


class Reporting:
    """One provider with a temporality and a way of keeping distributions."""

    def __init__(self, name: str, temporality: AggregationTemporality, aggregation: Aggregation) -> None:
        exporter = OTLPMetricExporter(
            preferred_temporality={Counter: temporality, Histogram: temporality},
            preferred_aggregation={Histogram: aggregation},
        )
        reader = PeriodicExportingMetricReader(exporter, export_interval_millis=500, export_timeout_millis=90_000)
        resource = Resource({**PLACE, "service.instance.id": name})
        self.provider = MeterProvider([reader], resource=resource)
        meter = self.provider.get_meter("service")
        self.requests: Any = meter.create_counter(f"requests.{name}")
        self.waits: Any = meter.create_histogram(f"waits.{name}", unit="s")


def _listen(told: threading.Event) -> None:
    sys.stdin.readline()
    told.set()


def main() -> None:
    delta, cumulative = AggregationTemporality.DELTA, AggregationTemporality.CUMULATIVE
    explicit, exponential = ExplicitBucketHistogramAggregation(BOUNDS), ExponentialBucketHistogramAggregation()
    reporting = [
        Reporting(f"{kind}.{way}", temporality, aggregation)
        for kind, temporality in (("delta", delta), ("cumulative", cumulative))
        for way, aggregation in (("explicit", explicit), ("exponential", exponential))
    ]
    scraped = prometheus_client.Histogram("waits_seconds", "the same waits", buckets=BOUNDS)
    prometheus_client.start_http_server(int(os.environ["SCRAPE_PORT"]), "127.0.0.1")
    told = threading.Event()
    threading.Thread(target=_listen, args=(told,), daemon=True).start()
    random_ = random.Random(7)
    waits: list[float] = []
    while not told.is_set():
        for _ in range(AT_ONCE):
            waits.append(random_.lognormvariate(-3.0, 0.8))
            scraped.observe(waits[-1])
            for one in reporting:
                one.requests.add(1)
                one.waits.record(waits[-1])
        time.sleep(EVERY)
    for one in reporting:
        one.provider.shutdown(timeout_millis=SHUTS_WITHIN)
    print(json.dumps({"requests": len(waits), "waits": waits}), flush=True)
    sys.stdin.read()


main()
