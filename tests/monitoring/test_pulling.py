"""Sources that are asked: what they bring is kept with what became of it, and what they do to us harms no other."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import prometheus_client
import pytest
from pytest_django.fixtures import Settings

from monitoring.actions import pulling, sources
from monitoring.models import Metric, MetricSource, Rejection, Sample, Series
from portal import jobs
from tests import make
from tests.make import BY
from tests.monitoring import targets, watching
from tests.monitoring.targets import OPENMETRICS, answering

pytestmark = pytest.mark.django_db
ROOT = Path(__file__).resolve().parents[2]
Outcome = MetricSource.Outcome


@pytest.fixture(autouse=True)
def loopback(settings: Settings) -> Iterator[None]:
    settings.PORTAL_OUTGOING_ALLOW = ["127.0.0.0/8"]
    yield
    # What still hangs belongs to a database that is rolled back.
    for future in list(pulling._flights.flying):
        future.exception(timeout=30)
    pulling._flights.flying.clear()


def scrape(url: str, **fields: Any) -> MetricSource:
    config = {"url": url, **fields.pop("config", {})}
    # Who answers does so at once: the time that it is given says only how busy the machine may be.
    whole = {"name": "target", "kind": "scrape", "config": config, "interval": 60, "timeout": 30, **fields}
    return sources.create(whole, by=BY)


def pulled(source: MetricSource) -> MetricSource:
    """The source after it was asked, however long that took."""
    until = time.monotonic() + 120
    while source.last_pull_at is None and time.monotonic() < until:
        pulling.pull()
        source.refresh_from_db()
    assert source.last_pull_at is not None
    return source


def kept(metric: str) -> dict[str, float | None]:
    """By the labels beside those of every sample."""
    rows = Sample.objects.filter(series__metric__name=metric).select_related("series")
    return {
        ",".join(f"{name}={value}" for name, value in sorted(one.series.labels.items()) if name not in pulling.OWN):
        one.value
        for one in rows
    }  # fmt: skip


def test_a_client_of_prometheus_is_scraped() -> None:
    registry = prometheus_client.CollectorRegistry()
    done = prometheus_client.Counter("jobs", "Jobs done.", ["queue"], registry=registry)
    done.labels("fast").inc(3)
    prometheus_client.Histogram("took_seconds", "It took.", buckets=(0.5, 1), registry=registry).observe(0.7)
    server, thread = prometheus_client.start_http_server(0, addr="127.0.0.1", registry=registry)
    try:
        make.service("checkout"), make.environment("staging")
        source = pulled(
            scrape(
                f"http://127.0.0.1:{server.server_port}/metrics",
                labels={"team": "payments"},
                environment=make.environment("staging"),
            )
        )
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert (source.outcome, source.last_error, source.rejected) == (Outcome.OK, "", 0)
    where = "environment=staging"
    assert kept("jobs_total") == {f"{where},queue=fast,team=payments": 3.0}
    assert kept("took_seconds_bucket")[f"{where},le=1.0,team=payments"] == 1.0
    assert kept("up") == {f"{where},team=payments": 1.0}
    assert kept("scrape_samples_scraped") == {f"{where},team=payments": float(source.samples)}
    told = Metric.objects.get(name="jobs_total")
    assert (told.type, told.description) == (Metric.Type.COUNTER, "Jobs done.")
    series = Series.objects.get(metric__name="up")
    assert (series.labels["job"], series.labels["instance"]) == ("target", f"127.0.0.1:{server.server_port}")
    assert source.skew == 0.0


@pytest.mark.parametrize("ahead", [300, -300])
def test_11_how_wrong_a_sources_clock_is_stands_with_it_and_what_is_too_early_is_counted(ahead: int) -> None:
    """Invariant 11: the database's clock decides, and people see whose clock is wrong."""
    began = jobs.database_now()
    theirs = began + timedelta(seconds=ahead)
    date = f"Date: {format_datetime(theirs, usegmt=True)}\r\n"
    body = f"a 1 {int(theirs.timestamp() * 1000)}\nb 2\n"
    with targets.running(answering(body, more=date)) as target:
        source = pulled(scrape(target.url))
    assert source.skew is not None
    # What it says is as old as the pull took.
    took = (jobs.database_now() - began).total_seconds()
    assert ahead - took - 1 <= source.skew <= ahead + 1
    assert kept("b")
    assert bool(kept("a")) == (ahead < 0)
    assert source.rejected == (1 if ahead > 0 else 0)
    told = list(Rejection.objects.values_list("reason", "count"))
    assert told == ([("time: is more than N s ahead of the server's clock", 1)] if ahead > 0 else [])


def test_what_the_source_was_given_wins_over_what_the_target_says() -> None:
    body = 'a{environment="production",job="mine",team="x"} 1\n'
    with targets.running(answering(body)) as target:
        pulled(scrape(target.url, environment=make.environment("staging"), labels={"team": "x"}))
    labels = Series.objects.get(metric__name="a").labels
    assert labels["environment"] == "staging"
    assert labels["exported_environment"] == "production"
    assert (labels["job"], labels["exported_job"], labels["team"]) == ("target", "mine", "x")
    assert "exported_team" not in labels


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (answering("a 1\n", OPENMETRICS), "is no OpenMetrics"),
        (answering("<html>", "text/html"), "answers with text/html, not with metrics"),
        (answering("a 1\n", status="500 Oops"), "HTTP 500 a 1"),
        (answering("", status="302 Found", more="Location: http://127.0.0.1:1/\r\n"), "redirects are not followed"),
        (answering("a 1\n", length=5000), "RemoteProtocolError: peer closed connection"),
        (answering(b"\x1f\x8b\x08garbage", more="Content-Encoding: gzip\r\n"), "not packed as it says"),
        (answering(b"x", more="Content-Encoding: br\r\n"), "send gzip or no Content-Encoding"),
        (targets.bomb(), "unpacks to more than"),
        (targets.endless, "the answer is larger than"),
        (targets.resetting, "ReadError"),
        (targets.hanging, "no whole answer within 1 s"),
        (targets.dripping, "no whole answer within 1 s"),
        (targets.dripping_headers, "no whole answer within 1 s"),
    ],
    ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else "",
)
def test_what_is_no_answer_fails_in_words_and_leaves_the_mark(act: targets.Act, words: str) -> None:
    with targets.running(act) as target:
        source = pulled(scrape(target.url, timeout=1 if "within 1 s" in words else 30))
    assert source.outcome == Outcome.FAILING
    assert words in source.last_error
    assert kept("up") == {"": 0.0}
    assert (source.failures, source.lease_token, source.last_ok_at) == (1, None, None)


def test_what_is_good_beside_what_is_bad_is_kept_and_the_bad_is_counted() -> None:
    huge = f'huge{{x="{"y" * 300}"}} 1'
    body = f'good 1\n{huge}\nbad{{x="1",x="2"}} 1\nsame 1\nsame 1\nother 1\nother 2\nfuture 1 99999999999999\n'
    with targets.running(answering(body)) as target:
        source = pulled(scrape(target.url))
    assert (source.outcome, source.rejected) == (Outcome.PARTLY, 3)
    assert kept("good") == kept("same") == kept("other") == {"": 1.0}
    assert "up" in set(Metric.objects.values_list("name", flat=True))
    assert {one.source for one in Rejection.objects.all()} == {"scrape: target"}
    assert sum(Rejection.objects.values_list("count", flat=True)) == 3


def test_one_that_hangs_does_not_delay_the_others() -> None:
    with targets.running(targets.hanging) as hanging, targets.running(answering("a 1\n")) as fine:
        slow = [scrape(hanging.url, name=f"slow{n}", timeout=30) for n in range(4)]
        quick = scrape(fine.url, name="quick")
        began = time.monotonic()
        pulled(quick)
        assert time.monotonic() - began < 25  # the others take 30 s
        # They are in the air still, each once.
        assert [one.name for one in pulling._flights.flying.values()] == [one.name for one in slow]
        assert pulling.pull() == 0
        assert len(pulling._flights.flying) == 4
        for source in slow:
            source.refresh_from_db()
            assert source.lease_token is not None
            assert source.last_pull_at is None


def test_the_secret_goes_where_it_belongs() -> None:
    with targets.running(answering("a 1\n")) as target:
        for config, secret, header, value in (
            ({"auth": "bearer"}, "tok", "authorization", "Bearer tok"),
            ({"auth": "basic", "user": "me"}, "pw", "authorization", "Basic bWU6cHc="),
            ({"auth": "header", "auth_header": "X-Key"}, "k", "x-key", "k"),
            ({"headers": {"X-Scope-OrgID": "team"}}, "", "x-scope-orgid", "team"),
        ):
            pulled(scrape(target.url, name=header + value, config=config, secret=secret))
            assert target.headers()[header] == value
    assert target.headers()["x-prometheus-scrape-timeout-seconds"] == "30"
    assert "openmetrics-text" in target.headers()["accept"]
    assert "tok" not in str(MetricSource.objects.values_list("secret", flat=True).query)


def test_turns_are_spread_and_failing_targets_are_asked_less_often() -> None:
    now = jobs.database_now()
    turns = [pulling.next_turn(pk, 60, now) for pk in range(1, 61)]
    waits = sorted((turn - now).total_seconds() for turn in turns)
    assert all(30 <= wait <= 90 for wait in waits)
    assert all(later - earlier < 5 for earlier, later in zip(waits, waits[1:], strict=False))  # nowhere in a heap
    turn = pulling.next_turn(7, 60, now)
    assert pulling.next_turn(7, 60, turn) == turn + timedelta(seconds=60)
    pauses = [(pulling.next_turn(7, 60, turn, failures=n) - turn).total_seconds() for n in range(1, 8)]
    assert pauses == [60, 120, 240, 300, 300, 300, 300]


def test_a_source_that_is_asked_elsewhere_already_is_not_asked_twice() -> None:
    with targets.running(answering("a 1\n")) as target:
        source = scrape(target.url)
        mine = pulling.lease()
        assert mine is not None
        assert pulling.lease() is None
        # Its lease ran out meanwhile, and somebody else has it.
        MetricSource.objects.update(due_at=jobs.database_now())
        other = pulling.lease()
        assert other is not None
        assert pulling.settle(mine, pulling._fetch(mine)) == 0
        assert kept("a") == {}
        assert pulling.settle(other, pulling._fetch(other)) == 1
    source.refresh_from_db()
    assert (kept("a"), source.outcome) == ({"": 1.0}, Outcome.OK)


def test_this_machine_is_measured() -> None:
    source = pulled(sources.create({"name": "here", "kind": "host"}, by=BY))
    assert (source.outcome, source.rejected) == (Outcome.OK, 0)
    names = set(Series.objects.values_list("metric__name", flat=True))
    assert {
        "system_cpu_time_seconds_total", "system_memory_utilization_ratio", "system_filesystem_utilization_ratio",
        "system_disk_io_bytes_total", "system_network_io_bytes_total", "system_cpu_load_average_1m",
        "system_processes_count", "up",
    } <= names  # fmt: skip
    (share,) = kept("system_memory_utilization_ratio").values()
    assert share is not None
    assert 0 < share < 1


@pytest.mark.django_db(transaction=True)
def test_a_worker_that_is_killed_while_it_asks_loses_nothing() -> None:
    with targets.running(targets.hanging) as target:
        source = scrape(target.url)
        # Its lease is over soon after it began to ask.
        command = (
            "import django; django.setup(); from monitoring.actions import pulling; "
            "pulling.LEASE = -29.5; pulling.pull()"
        )
        env = {**os.environ, "DATABASE_URL": watching.database_url(), "PORTAL_OUTGOING_ALLOW": "127.0.0.0/8"}
        worker = subprocess.Popen([sys.executable, "-c", command], cwd=ROOT, env=env)
        until = time.monotonic() + 60
        while not target.heard and time.monotonic() < until:
            time.sleep(0.02)
        assert target.heard, "the worker never asked"
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        source.refresh_from_db()
        assert source.lease_token is not None
        assert source.last_pull_at is None
        target.act = answering("a 1\n")
        pulled(source)
    assert kept("a") == {"": 1.0}
    assert source.outcome == Outcome.OK


def test_a_target_that_is_away() -> None:
    # Bound and not listening: nobody else gets the port meanwhile.
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        source = pulled(scrape(f"http://127.0.0.1:{taken.getsockname()[1]}/metrics"))
    assert (source.outcome, "Connection refused" in source.last_error) == (Outcome.FAILING, True)
