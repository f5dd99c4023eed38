"""Debian's own Prometheus, scraped and queried."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from pytest_django.fixtures import Settings

from monitoring.actions import pulling, sources
from monitoring.models import MetricSource, Sample
from portal.supervise import ports
from tests.make import BY

pytestmark = pytest.mark.django_db
CONFIGURATION = """
global: {{scrape_interval: 5s, scrape_timeout: 5s}}
scrape_configs:
  - job_name: itself
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""


@pytest.fixture
def prometheus(tmp_path: Path, settings: Settings) -> Iterator[str]:
    settings.PORTAL_OUTGOING_ALLOW = ["127.0.0.0/8"]
    binary = shutil.which("prometheus")
    if binary is None:
        pytest.skip("prometheus is not installed (Debian: apt-get install prometheus)")
    with ports.listen("127.0.0.1", 0) as probe:
        port = probe.getsockname()[1]
    (tmp_path / "prometheus.yml").write_text(CONFIGURATION.format(port=port))
    url = f"http://127.0.0.1:{port}"
    command = [
        binary, f"--config.file={tmp_path / 'prometheus.yml'}", f"--storage.tsdb.path={tmp_path / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]  # fmt: skip
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        until = time.monotonic() + 60
        while not _has_scraped(url):
            over = process.poll() is not None or time.monotonic() > until
            assert not over, (tmp_path / "log").read_text()
            time.sleep(0.1)
        yield url
    finally:
        process.kill()
        process.wait()


def _has_scraped(url: str) -> bool:
    with suppress(httpx.HTTPError, KeyError, ValueError):  # not JSON until it has read its store
        answer = httpx.get(f"{url}/api/v1/query", params={"query": "up == 1"}, timeout=2, trust_env=False)
        return bool(answer.json()["data"]["result"])
    return False


def test_a_real_prometheus_is_scraped_and_queried(prometheus: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Both are asked in one run, however long a busy machine takes for it.
    monkeypatch.setattr(pulling, "CYCLE", 120.0)
    patient = {"interval": 60, "timeout": 30}
    scraped = sources.create(
        {"name": "scraped", "kind": "scrape", "config": {"url": f"{prometheus}/metrics"}, **patient}, by=BY
    )
    queries = [
        {"query": "up"},
        {"query": 'sum(prometheus_build_info{job="itself"})', "metric": "builds"},
        {"query": "nothing_of_this_name", "metric": "nothing"},
        {"query": "scalar(vector(42))", "metric": "answer"},
        {"query": "0/0", "metric": "no_number"},
        {"query": "sum(", "metric": "broken"},
        {"query": "up[1m]", "metric": "a_range"},
    ]
    asked = sources.create(
        {"name": "asked", "kind": "prometheus", "config": {"url": prometheus, "queries": queries}, **patient}, by=BY
    )
    pulling.pull()
    scraped.refresh_from_db()
    assert (scraped.outcome, scraped.last_error, scraped.rejected) == (MetricSource.Outcome.OK, "", 0)
    assert scraped.samples > 300
    assert _values("prometheus_build_info", "scraped") == [1.0]
    asked.refresh_from_db()
    assert asked.outcome == MetricSource.Outcome.FAILING
    assert "query 6: HTTP 400 bad_data: " in asked.last_error
    assert "query 7: answers with a matrix" in asked.last_error
    # What could be answered is kept, at the time of Prometheus' own scrape.
    found = Sample.objects.select_related("series").get(series__metric__name="up", series__labels__job="itself")
    assert found.value == 1.0
    assert asked.last_pull_at is not None
    assert found.time < asked.last_pull_at
    assert [one.value for one in Sample.objects.filter(series__metric__name="builds")] == [1.0]
    assert [one.value for one in Sample.objects.filter(series__metric__name="answer")] == [42.0]
    assert not Sample.objects.filter(series__metric__name__in=("nothing", "no_number", "broken")).exists()
    # The same sample seen again is a duplicate, not a new one.
    again = sources.change(asked, {"config": {"url": prometheus, "queries": queries[:1]}}, by=BY)
    pulling.pull()
    again.refresh_from_db()
    assert (again.outcome, again.rejected) == (MetricSource.Outcome.OK, 0)


def _values(metric: str, job: str) -> list[float | None]:
    rows = Sample.objects.filter(series__metric__name=metric, series__labels__job=job)
    return list(rows.values_list("value", flat=True))
