"""Debian's own Prometheus writes to a running portal, which is down for a while in mid-stream: nothing is missing."""

import math
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from portal.supervise import ports
from tests import migrated
from tests.running import Running, wait_for

# PORTAL_TEST_OUTAGE makes it longer: the same holds for 30 s, which every run need not wait for.
OUTAGE = float(os.environ.get("PORTAL_TEST_OUTAGE", "4"))  # seconds
BEFORE, AFTER = 6.0, 4.0  # seconds of writing around it

# One shard sends in the order of time: when a sample has arrived, so have those before it.
CONFIGURATION = """
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - job_name: prometheus
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
remote_write:
  - url: {url}/ingest/prometheus/api/v1/write
    authorization: {{credentials: {key}}}
    queue_config: {{max_shards: 1, batch_send_deadline: 500ms, min_backoff: 100ms, max_backoff: 1s}}
    metadata_config: {{send_interval: 2s}}
"""


@pytest.fixture
def binary() -> str:
    found = shutil.which("prometheus")
    if found is None:
        pytest.skip("prometheus is not installed (Debian: apt-get install prometheus)")
    return found


def free_port() -> int:
    with ports.listen("127.0.0.1", 0) as probe:
        port: int = probe.getsockname()[1]
    return port


class Prometheus:
    """A Prometheus that scrapes itself each second and writes what it sees to the portal."""

    def __init__(self, folder: Path, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.log = folder / "prometheus.log"

    def ask(self, path: str, **parameters: Any) -> Any:
        answer = httpx.get(f"{self.url}/api/v1/{path}", params=parameters, timeout=20, trust_env=False)
        return answer.raise_for_status().json()["data"]["result"]

    def number(self, query: str) -> float:
        found = self.ask("query", query=query)
        return float(found[0]["value"][1]) if found else 0.0


@contextmanager
def prometheus(binary: str, folder: Path, *, writes_to: str, key: str) -> Iterator[Prometheus]:
    port = free_port()
    (folder / "prometheus.yml").write_text(CONFIGURATION.format(port=port, url=writes_to, key=key))
    started = Prometheus(folder, port)
    command = [
        binary, f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]  # fmt: skip
    with started.log.open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_for(lambda: process.poll() is not None or _is_ready(started.url), "Prometheus is ready")
        assert process.poll() is None, started.log.read_text()
        yield started
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _is_ready(url: str) -> bool:
    with suppress(httpx.HTTPError):
        return httpx.get(f"{url}/-/ready", timeout=2, trust_env=False).status_code == 200
    return False


Samples = dict[tuple[str, tuple[tuple[str, str], ...]], dict[int, float]]  # (metric, labels): {milliseconds: value}


def what_prometheus_has(prometheus: Prometheus, *, until: float, seconds: int) -> Samples:
    """Its raw samples, as its own API tells them: a range vector is not interpolated."""
    found: Samples = {}
    for one in prometheus.ask("query", query=f'{{__name__=~".+"}}[{seconds}s]', time=until):
        labels = dict(one["metric"])
        name = labels.pop("__name__")
        values = {round(float(at) * 1000): float(value) for at, value in one["values"]}
        found[name, tuple(sorted(labels.items()))] = {at: value for at, value in values.items() if math.isfinite(value)}
    return found


def what_we_have(store: "psycopg.Connection[Any]") -> Samples:
    found: Samples = {}
    rows = store.execute(
        "SELECT m.name, s.labels, round(extract(epoch FROM x.time) * 1000), x.value FROM monitoring_sample x "
        "JOIN monitoring_series s ON s.id = x.series_id JOIN monitoring_metric m ON m.id = s.metric_id"
    )
    for name, labels, at, value in rows:
        found.setdefault((name, tuple(sorted(labels.items()))), {})[int(at)] = value
    return found


def kind_of(store: "psycopg.Connection[Any]") -> str:
    row = store.execute(
        "SELECT type FROM monitoring_metric WHERE name = 'prometheus_http_request_duration_seconds_bucket'"
    ).fetchone()
    return row[0] if row else ""


@pytest.mark.timeout(400)
def test_nothing_is_missing_after_an_outage_in_mid_stream(binary: str, tmp_path: Path) -> None:
    data, port = migrated.into(tmp_path / "data"), str(free_port())
    portal = Running(data, "--port", port)
    try:
        portal.wait_ready()
        made = portal.manage("create_api_key", "prometheus", "--scope", "ingest")
        assert made.returncode == 0, made.stderr
        address = f"http://127.0.0.1:{port}"
        with prometheus(binary, tmp_path, writes_to=address, key=made.stdout.strip()) as sender:
            began = time.time()
            wait_for(lambda: sender.number("prometheus_remote_storage_samples_total") > 0, "the first samples go out")
            time.sleep(BEFORE)

            portal.interrupt()
            down = time.time()
            time.sleep(OUTAGE)
            portal = Running(data, "--port", port).wait_ready()
            outage = time.time() - down

            time.sleep(AFTER)
            now = time.time()
            caught_up = "prometheus_remote_storage_queue_highest_sent_timestamp_seconds"
            wait_for(lambda: sender.number(caught_up) > now + 2, "Prometheus has caught up")
            theirs = what_prometheus_has(sender, until=now, seconds=math.ceil(now - began) + 5)
            dropped = sender.number("prometheus_remote_storage_samples_dropped_total")
            failed = sender.number("prometheus_remote_storage_samples_failed_total")
            retried = sender.number("prometheus_remote_storage_samples_retried_total")
            described = sender.number("prometheus_remote_storage_metadata_total")
            with psycopg.connect(portal.runtime["database_url"], autocommit=True) as store:
                ours = what_we_have(store)
                # Told every two seconds, beside the samples.
                wait_for(lambda: kind_of(store) == "counter", "Prometheus has said in its metadata what it counts")
    finally:
        portal.end()

    missing = {
        (name, at)
        for name, samples in theirs.items()
        for at, value in samples.items()
        if ours.get(name, {}).get(at) != value
    }
    total = sum(len(samples) for samples in theirs.values())
    print(
        f"\nportal down for {outage:.0f} s: {len(missing)} of {total} samples of {len(theirs)} series missing; "
        f"{retried:.0f} retried, {described:.0f} descriptions sent"
    )
    assert (failed, dropped) == (0, 0), sender.log.read_text()[-3000:]
    assert retried > 0, "the outage hit Prometheus in mid-stream"
    assert total > 10 * len(theirs) > 1000
    assert not missing, sorted(missing)[:10]
