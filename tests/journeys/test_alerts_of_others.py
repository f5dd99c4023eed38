"""Debian's own Prometheus and Alertmanager: a real rule becomes our incident, and its end resolves it."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.journeys.programs import free_port, running
from tests.journeys.running import Journey, until

PROMETHEUS = """
global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}
rule_files: [{folder}/rules.yml]
scrape_configs:
  - job_name: prometheus
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
alerting:
  alertmanagers:
    - static_configs: [{{targets: ["127.0.0.1:{alertmanager}"]}}]
    - static_configs: [{{targets: ["{portal}"]}}]
      path_prefix: /ingest/alertmanager
      authorization: {{credentials: {key}}}
"""
RULES = """
groups:
  - name: test
    rules:
      - alert: {name}
        expr: {expression}
        labels: {{severity: critical}}
        annotations: {{summary: "it is true"}}
"""
ALERTMANAGER = """
route: {{receiver: portal, group_by: [alertname], group_wait: 100ms, group_interval: 1s, repeat_interval: 1h}}
receivers:
  - name: portal
    webhook_configs:
      - url: http://{portal}/ingest/alertmanager
        http_config: {{authorization: {{credentials: {key}}}}}
"""


@pytest.fixture
def binaries() -> tuple[str, str]:
    found = [shutil.which(name) for name in ("prometheus", "prometheus-alertmanager")]
    if found[0] is None or found[1] is None:
        pytest.skip("prometheus or prometheus-alertmanager is not installed (Debian: apt-get install both)")
    return found[0], found[1]


@pytest.fixture(scope="module")
def journey() -> Iterator[Journey]:
    with Journey() as running_:
        yield running_


class Theirs:
    """Their Prometheus with one rule, which posts to their Alertmanager, or to the portal as if it were one."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port

    def rule(self, name: str, expression: str) -> None:
        (self.folder / "rules.yml").write_text(RULES.format(name=name, expression=expression))

    def reload(self) -> None:
        httpx.post(f"http://127.0.0.1:{self.port}/-/reload", timeout=10, trust_env=False).raise_for_status()


@contextmanager
def theirs(
    binaries: tuple[str, str], folder: Path, portal: str, key: str, *, through: bool, again: str = "1s"
) -> Iterator[Theirs]:
    """`again`: how often it says the same; what it has not said for four times as long is over."""
    port, alertmanager = free_port(), free_port()
    made = Theirs(folder, port)
    made.rule(folder.name, "vector(1)")
    fields: dict[str, Any] = {"folder": folder, "port": port, "portal": portal, "key": key}
    # The one way or the other: an address where nobody listens stands for what is left out.
    there, direct = (alertmanager, "127.0.0.1:1") if through else (1, portal)
    (folder / "prometheus.yml").write_text(PROMETHEUS.format(**{**fields, "alertmanager": there, "portal": direct}))
    (folder / "alertmanager.yml").write_text(ALERTMANAGER.format(**fields))
    with ExitStack() as stack:
        if through:
            stack.enter_context(
                running(
                    folder, alertmanager, binaries[1], f"--config.file={folder / 'alertmanager.yml'}",
                    f"--storage.path={folder / 'am'}", f"--web.listen-address=127.0.0.1:{alertmanager}",
                    "--cluster.listen-address=",
                )
            )  # fmt: skip
        stack.enter_context(
            running(
                folder, port, binaries[0], f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'tsdb'}", f"--web.listen-address=127.0.0.1:{port}",
                "--web.enable-lifecycle", f"--rules.alert.resend-delay={again}",
            )
        )  # fmt: skip
        yield made


def test_a_rule_of_theirs_opens_our_incident_and_its_end_resolves_it(
    binaries: tuple[str, str], journey: Journey, tmp_path: Path
) -> None:
    sends, reads = journey.key("ingest"), journey.client(journey.key("read"))
    portal = journey.address.removeprefix("http://")

    def incidents() -> list[tuple[str, str]]:
        found = reads.get("/api/v1/incidents/").json()["results"]
        return [(one["title"], one["status"]) for one in found]

    for through in (True, False):
        name = "ByAlertmanager" if through else "ByPrometheus"
        folder = tmp_path / name
        folder.mkdir()
        # A machine that stands still for some seconds must not end the alert.
        with theirs(binaries, folder, portal, sends, through=through, again="15s") as them:
            title = f"{name}: critical"
            until(lambda title=title: (title, "triggered") in incidents())
            them.rule(name, "vector(1) > 2")
            them.reload()
            until(lambda title=title: (title, "resolved") in incidents())
    titles = [title for title, _ in incidents()]
    assert titles.count("ByAlertmanager: critical") == titles.count("ByPrometheus: critical") == 1
    alerts = reads.get("/api/v1/alerts/").json()["results"]
    assert {one["reason"] for one in alerts} == {"it is true"}


def test_a_prometheus_that_dies_is_missed_and_one_that_comes_back_is_heard(
    binaries: tuple[str, str], journey: Journey, tmp_path: Path
) -> None:
    sends, sees = journey.key("ingest"), journey.client(journey.key("write"))
    portal, folder = journey.address.removeprefix("http://"), tmp_path / "Watchdog"
    folder.mkdir()

    def state() -> str:
        found = sees.get("/api/v1/watchdogs/").json()["results"]
        return str(found[0]["state"]) if found else ""

    def status() -> list[str]:
        found = sees.get("/api/v1/incidents/").json()["results"]
        return [one["status"] for one in found if one["title"].startswith("Watchdog (watchdog-")]

    with theirs(binaries, folder, portal, sends, through=False):
        until(lambda: state() == "alive")
        assert status() == []
    # It would be missed after five minutes. Only now: a busy machine may keep a living one silent for some seconds.
    key = sees.get("/api/v1/watchdogs/").json()["results"][0]["key"]
    sees.patch(f"/api/v1/watchdogs/{key}/", json={"every": 5, "grace": 1}).raise_for_status()
    until(lambda: (state(), status()) == ("silent", ["triggered"]))
    with theirs(binaries, folder, portal, sends, through=False):
        until(lambda: (state(), status()) == ("alive", ["resolved"]))
