"""The unmodified OpenTelemetry SDK exports to a running portal, which is down for a while: nothing is missing."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests import migrated
from tests.journeys.programs import free_port, is_ready, running
from tests.journeys.running import until
from tests.running import ROOT, Running, clean_environment, wait_for

# PORTAL_TEST_OUTAGE makes it longer: the same holds for 30 s, which every run need not wait for.
OUTAGE = float(os.environ.get("PORTAL_TEST_OUTAGE", "4"))  # seconds
BEFORE, AFTER = 3.0, 2.0  # seconds of exporting around it
# The SDK is in the environment of others' SDKs: where it is installed redis-py loads it, too, in every process.
PYTHON = ROOT / ".venv" / "vendors" / "bin" / "python"
WAYS = [f"{kind}_{way}" for kind in ("delta", "cumulative") for way in ("explicit", "exponential")]
PERCENTILES = (50, 90, 95, 99)

PROMETHEUS = """
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - job_name: service
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""
# What the portal makes of it, by the functions that thresholds are judged by.
ASK = """
import json
from monitoring import queries
from monitoring.queries import Window
from portal import jobs
windows = [Window(*one, {{"service": "checkout", "environment": "staging"}}) for one in json.loads('{asked}')]
print(json.dumps([answer.value for (answer,) in queries.aggregates(windows, now=jobs.database_now())]))
"""


class Service:
    """The process with the SDK."""

    def __init__(self, address: str, key: str) -> None:
        self.scraped = free_port()
        environment = clean_environment() | {
            "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": f"{address}/ingest/otlp/v1/metrics",
            "OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer%20{key}",
            "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
            # It gives up when this is over: longer than the outage, as whoever expects one sets it.
            "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT": "80",
            "SCRAPE_PORT": str(self.scraped),
        }
        self.process = subprocess.Popen(
            [str(PYTHON), str(ROOT / "tests/clients/otel_service.py")],
            env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True,
        )  # fmt: skip

    def stop(self) -> dict[str, Any]:
        """Have it flush and say what it did; it goes on being scraped."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("stop\n")
        self.process.stdin.flush()
        said: dict[str, Any] = json.loads(self.process.stdout.readline())
        return said


@contextmanager
def service(address: str, key: str) -> Iterator[Service]:
    if not PYTHON.exists():
        pytest.skip("the vendors' SDKs are not installed: make .venv/.vendors")
    started = Service(address, key)
    try:
        wait_for(lambda: started.process.poll() is not None or is_ready(started.scraped, "/metrics"), "the service")
        assert started.process.poll() is None, started.process.communicate()[1]
        yield started
    finally:
        started.process.kill()
        started.process.communicate()


def judged(portal: Running, asked: list[tuple[str, str, int]]) -> list[float]:
    done = portal.manage("shell", "-v", "0", "-c", ASK.format(asked=json.dumps(asked)))
    assert done.returncode == 0, done.stderr
    found: list[float] = json.loads(done.stdout)
    return found


def quantiles(folder: Path, port: int, total: int) -> list[float]:
    """What Debian's Prometheus says of the same observations in the same buckets."""
    found = shutil.which("prometheus")
    if found is None:
        pytest.skip("prometheus is not installed (Debian: apt-get install prometheus)")
    own = free_port()
    (folder / "prometheus.yml").write_text(PROMETHEUS.format(port=port))
    command = [
        found, f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{own}",
    ]  # fmt: skip

    def ask(query: str) -> float:
        address = f"http://127.0.0.1:{own}/api/v1/query"
        answer = httpx.get(address, params={"query": query}, timeout=20, trust_env=False)
        result = answer.raise_for_status().json()["data"]["result"]
        return float(result[0]["value"][1]) if result else 0.0

    with running(folder, own, *command):
        until(lambda: ask("waits_seconds_count") == total, within=60)
        return [ask(f"histogram_quantile({p / 100}, waits_seconds_bucket)") for p in PERCENTILES]


@pytest.mark.timeout(400)
def test_nothing_is_missing_after_an_outage_and_percentiles_are_theirs(tmp_path: Path) -> None:
    data, port = migrated.into(tmp_path / "data"), str(free_port())
    portal = Running(data, "--port", port)
    try:
        portal.wait_ready()
        for noun, key in (("Service", "checkout"), ("Environment", "staging")):
            code = f"from portal.models import {noun}; {noun}.objects.create(key='{key}')"
            assert portal.manage("shell", "-v", "0", "-c", code).returncode == 0
        made = portal.manage("create_api_key", "otel", "--scope", "ingest")
        with service(f"http://127.0.0.1:{port}", made.stdout.strip()) as sender:
            time.sleep(BEFORE)
            portal.interrupt()
            down = time.time()
            time.sleep(OUTAGE)
            portal = Running(data, "--port", port).wait_ready()
            outage = time.time() - down
            time.sleep(AFTER)
            said = sender.stop()
            window = 1800
            counts = judged(portal, [(f"requests_{way}", "increase", window) for way in WAYS])
            sizes = judged(portal, [(f"waits_{way}", "count", window) for way in WAYS])
            asked = [(f"waits_{way}", f"p{p}", window) for way in WAYS for p in PERCENTILES]
            answers = dict(zip([one[:2] for one in asked], judged(portal, asked), strict=True))
            theirs = quantiles(tmp_path, sender.scraped, said["requests"])
    finally:
        portal.end()

    print(f"\nportal down for {outage:.0f} s: {counts} and {sizes} of {said['requests']} arrived")
    assert counts == sizes == [said["requests"]] * 4
    exact = np.percentile(said["waits"], PERCENTILES, method="inverted_cdf").tolist()
    for kind in ("delta", "cumulative"):
        ours = [answers[f"waits_{kind}_explicit", f"p{p}"] for p in PERCENTILES]
        assert ours == pytest.approx(theirs, rel=1e-9), kind
        ours = [answers[f"waits_{kind}_exponential", f"p{p}"] for p in PERCENTILES]
        assert ours == pytest.approx(exact, rel=0.02), kind
