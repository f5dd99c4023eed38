"""The store of samples: how much is taken in with rollups and judging keeping up, and how fast it is judged and read.

The portal as it is: a web process, a worker and a beat on real servers, the sender on the same cores. Judging stands
beside a Prometheus that evaluates as many rules over as many series in the same run.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import psutil
from django.db import connection

from bench.changes import Process
from bench.machine import percentile
from monitoring import queries
from monitoring.actions import judging, metrics, partitions, rollups
from monitoring.models import Alert, DirtyBucket, DueThreshold, Sample, Series, Threshold
from portal import jobs, keys
from portal.audit import Automaton
from portal.models import Heartbeat

BY = Automaton("bench")
SERIES = 10_000
SAMPLES_A_REQUEST = 2_000  # as Prometheus sends by default
RATE, BURST = 20_000, 50_000  # samples a second
JUDGED_MEANWHILE = 100  # thresholds on the series that are written
THRESHOLDS = 10_000
PASSES = 5
BREACHES = 100
READ_SERIES = 1_000
REPEATS = 20


def run(*, seconds: int = 60) -> dict[str, Any]:
    partitions.keep()
    key = keys.create("bench", scopes=["ingest"], by=BY)[1]
    found: dict[str, Any] = {"history": history(), "judging": judged()}
    Threshold.objects.update(active=False)
    with Process() as web, background():
        found["breach_to_firing_ms"] = breaches(web, key)
        found["request_of_500_at_a_tenth"] = written(web, key, rate=RATE / 10, size=500, seconds=min(20, seconds))
        found["sustained"] = written(web, key, rate=RATE, size=SAMPLES_A_REQUEST, seconds=seconds)
        found["burst"] = written(web, key, rate=BURST, size=SAMPLES_A_REQUEST, seconds=min(60, seconds))
    return found


@contextmanager
def background() -> Iterator[None]:
    """A worker and a beat, as `up` starts them."""
    celery = [sys.executable, "-m", "celery", "--quiet", "-A", "portal.celery"]
    alone = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    environment = os.environ | {"CELERY_SKIP_CHECKS": "1", "PORTAL_LOG_LEVEL": "ERROR"}
    with tempfile.TemporaryDirectory() as folder:
        commands = [
            [*celery, "worker", "--pool", "prefork", "--concurrency", "2", *alone],
            [*celery, "beat", "--schedule", f"{folder}/schedule", "--pidfile", ""],
        ]
        children = [subprocess.Popen(one, env=environment, stderr=subprocess.DEVNULL) for one in commands]
        try:
            _until(lambda: Heartbeat.objects.filter(name="monitoring.judge").exists(), 60)
            yield
        finally:
            for child in children:
                child.terminate()
            for child in children:
                child.wait(60)


# --- Taken in -----------------------------------------------------------------------------------
def written(web: Process, key: str, *, rate: float, size: int, seconds: int) -> dict[str, Any]:
    """What was taken, how long requests took, and how far rollups and judging were behind at the worst."""
    if not Threshold.objects.filter(active=True, metric="bench_load").exists():
        thresholds(JUDGED_MEANWHILE, "bench_load", "instance", "host-{}:9100")
    before = Sample.objects.count()
    command = [sys.executable, "-m", "bench.store_sender", str(web.port), key, str(rate), str(size)]
    began = time.monotonic()
    behind: list[float] = []
    judged_every: list[float] = []
    with tempfile.TemporaryFile() as said:  # a pipe would hold up a sender that has thousands of times to tell
        sender = subprocess.Popen([*command, str(SERIES), str(seconds)], stdout=said)
        while sender.poll() is None:
            time.sleep(1)
            behind.append(_behind())
            judged_every.append(_age("monitoring.judge"))
        said.seek(0)
        told = json.loads(said.read())
    stored = Sample.objects.count() - before
    ended = time.monotonic()
    # What the last minutes left: with this in the time, the rate is one that can go on for ever.
    rollups_until = jobs.database_now()
    _until(lambda: not DirtyBucket.objects.filter(resolution=60, time__lte=rollups_until - GRACE).exists(), 600)
    return {
        "offered_a_second": rate,
        "stored_a_second": round(stored / told["seconds"]),
        "stored": stored,
        "lost": told["sent"] - stored,
        "asked_again": told["repeated"],
        "seconds": round(told["seconds"], 1),
        "request_ms": _told(told["took"]),
        # In the first of all, every series is made; later ones are known.
        "first_of_each_series_ms": _told(told["took_first"]),
        "later_ms": _told(told["took_later"]),
        "rollups_behind_at_most_s": round(max(behind), 1),
        "rollups_done_after_s": round(time.monotonic() - ended, 1),
        "judge_silent_at_most_s": round(max(judged_every), 1),
        "load_1min": round(psutil.getloadavg()[0], 2),
        "measured_s": round(time.monotonic() - began, 1),
    }


def _told(took: list[float]) -> dict[str, float] | None:
    late = [one * 1000 for one in took]
    return {"p50": round(percentile(late, 0.5), 1), "p99": round(percentile(late, 0.99), 1)} if late else None


GRACE = timedelta(minutes=1) + rollups.GRACE[rollups.MINUTE]


def _behind() -> float:
    """Seconds for which the oldest minute that could be rolled up has waited."""
    oldest = DirtyBucket.objects.filter(resolution=60).order_by("time").values_list("time", flat=True).first()
    return 0.0 if oldest is None else max(0.0, (jobs.database_now() - oldest - GRACE).total_seconds())


def _age(sweep: str) -> float:
    return (jobs.database_now() - Heartbeat.objects.get(name=sweep).at).total_seconds()


# --- Judged -------------------------------------------------------------------------------------
def judged() -> dict[str, Any]:
    """A pass over all thresholds, each over a series of its own; and Prometheus' pass over as many rules."""
    fill("bench_judged", "n", SERIES, seconds=300, every=15)
    thresholds(THRESHOLDS, "bench_judged", "n", "{}")
    passes = []
    for _ in range(PASSES):
        DueThreshold.objects.bulk_create(
            [DueThreshold(threshold=one) for one in Threshold.objects.filter(active=True)], ignore_conflicts=True
        )
        began = time.perf_counter()
        done = judging.run()
        passes.append(time.perf_counter() - began)
        assert done == THRESHOLDS, done
    ours, theirs = sorted(passes[1:])[len(passes) // 2], prometheus()
    return {
        "thresholds": THRESHOLDS,
        "series": SERIES,
        "pass_s": round(ours, 2),
        "passes_s": [round(one, 2) for one in passes],
        "prometheus_pass_s": theirs,
        "ratio": None if not theirs else round(ours / theirs, 2),
        "load_1min": round(psutil.getloadavg()[0], 2),
    }


def thresholds(count: int, metric: str, label: str, value: str) -> None:
    """Written as rows: by the verb each would be its own transaction."""
    Threshold.objects.bulk_create(
        [
            Threshold(
                name=f"{metric} {one}",
                metric=metric,
                matchers={label: value.format(one)},
                aggregation="mean",
                operator=">",
                critical=1e9,
                window=300,
                interval=10,
                created_by="bench",
            )
            for one in range(count)
        ],
        batch_size=1000,
    )


def prometheus() -> float | None:
    """Seconds of a group's evaluation; None where no Prometheus is installed."""
    program = shutil.which("prometheus")
    if program is None:
        return None
    lines = "".join(f'bench_judged{{n="{one}"}} {one % 100}\n' for one in range(SERIES)).encode()

    class Target(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(lines)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Target)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as folder:
        rules = "".join(
            f'  - alert: a{one}\n    expr: avg_over_time(bench_judged{{n="{one}"}}[5m]) > 1e9\n'
            for one in range(THRESHOLDS)
        )
        Path(folder, "rules.yml").write_text(f"groups:\n- name: g\n  interval: 5s\n  rules:\n{rules}")
        Path(folder, "prometheus.yml").write_text(
            "global: {scrape_interval: 1s}\nrule_files: [rules.yml]\nscrape_configs:\n- job_name: bench\n"
            f"  static_configs: [{{targets: ['127.0.0.1:{server.server_port}']}}]\n"
        )
        port = _free_port()
        command = [program, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
        child = subprocess.Popen(
            [*command, f"--web.listen-address=127.0.0.1:{port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            time.sleep(25)  # some twenty samples of each series, as ours have; a few passes
            page = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False, timeout=30).text
        finally:
            child.terminate()
            child.wait(60)
            server.shutdown()
    found = re.search(r"^prometheus_rule_group_last_duration_seconds\{[^}]*\} (\S+)$", page, re.MULTILINE)
    return round(float(found[1]), 2) if found else None


def breaches(web: Process, key: str) -> dict[str, float]:
    """From the answer to a breaching sample until its alert fires, in the database."""
    headers = {"Authorization": f"Bearer {key}"}
    Threshold.objects.bulk_create(
        Threshold(
            name=f"b{one}",
            metric=f"bench_breach_{one}",
            aggregation="max",
            operator=">",
            critical=1.0,
            window=60,
            interval=10,
            created_by="bench",
        )
        for one in range(BREACHES)
    )
    late = []
    for one in range(BREACHES):
        sample = [{"metric": f"bench_breach_{one}", "value": 5, "labels": {}}]
        answer = web.client.post("/api/v1/samples/", json={"samples": sample}, headers=headers)
        accepted = time.perf_counter()
        assert answer.is_success, answer.text
        fired = Alert.objects.filter(threshold__name=f"b{one}", fired_at__isnull=False)
        _until(fired.exists, 30, every=0.004)
        late.append((time.perf_counter() - accepted) * 1000)
        time.sleep(0.05)
    Threshold.objects.filter(name__startswith="b", metric__startswith="bench_breach").update(active=False)
    return {name: round(percentile(late, share), 1) for name, share in (("p50", 0.5), ("p99", 0.99), ("most", 1.0))}


# --- Read ---------------------------------------------------------------------------------------
def history() -> dict[str, Any]:
    """What reading and judging cost with a day kept, and with thirty."""
    fill("bench_read", "n", READ_SERIES, seconds=300, every=1)
    thresholds(1_000, "bench_read", "n", "{}")
    found: dict[str, Any] = {}
    for days in (1, 30):
        age("bench_read", days)
        found[f"days_{days}"] = {name: _median_ms(ask) for name, ask in QUESTIONS.items()}
    Threshold.objects.update(active=False)
    found["ratio"] = {
        name: round(found["days_30"][name] / found["days_1"][name], 2) for name in QUESTIONS if found["days_1"][name]
    }
    return found


def fill(metric: str, label: str, series: int, *, seconds: int, every: int) -> None:
    """The last minutes of each series, by the store's own table."""
    metrics.record([{"metric": metric, "value": 1, "labels": {label: str(one)}} for one in range(series)], by=BY)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO monitoring_sample (series_id, time, value) SELECT s.id, t, random() * 100 "
            "FROM monitoring_series s JOIN monitoring_metric m ON m.id = s.metric_id AND m.name = %s, "
            "generate_series(now() - make_interval(secs => %s), now(), make_interval(secs => %s)) t "
            "ORDER BY s.id, t ON CONFLICT DO NOTHING",
            [metric, seconds, every],
        )
        cursor.execute("ANALYZE monitoring_sample, monitoring_series")


def age(metric: str, days: int) -> None:
    """Minutes and hours of so many days for the first twenty series, and a day of samples of them at the most."""
    now = jobs.database_now()
    for day in range(days + 1):
        partitions.make((now - timedelta(days=day)).date(), partitions.MINUTES)
        partitions.make(partitions.HOURS.first((now - timedelta(days=day)).date()), partitions.HOURS)
    ids = list(Series.objects.filter(metric__name=metric).order_by("pk").values_list("pk", flat=True)[:20])
    with connection.cursor() as cursor:
        for table, width in (("monitoring_minuterollup", "1 minute"), ("monitoring_hourrollup", "1 hour")):
            cursor.execute(
                f"INSERT INTO {table} (series_id, time, samples, count, total, squares, low, high, first, last, "
                "first_time, last_time, increase, histogram) SELECT s, t, 60, 60, 3000, 10, 1, 99, 50, 50, t, t, 1, "
                """'{"positive": {"100": 20, "150": 20, "200": 20}}' FROM unnest(%s::int8[]) s, """
                "generate_series(date_bin(%s, now(), 'epoch') - make_interval(days => %s), "
                "date_bin(%s, now(), 'epoch') - %s::interval, %s::interval) t ORDER BY s, t ON CONFLICT DO NOTHING",
                [ids, width, days, width, width, width],
            )
        cursor.execute(
            "INSERT INTO monitoring_sample (series_id, time, value) SELECT s, t, 1 FROM unnest(%s::int8[]) s, "
            "generate_series(now() - make_interval(days => %s), now() - interval '10 minutes', interval '15 s') t "
            "ORDER BY s, t ON CONFLICT DO NOTHING",
            [ids, min(days, 2)],
        )
        DirtyBucket.objects.all().delete()
        cursor.execute("ANALYZE monitoring_sample, monitoring_minuterollup, monitoring_hourrollup")


def _day_of_one_series(now: datetime) -> None:
    (one,) = Series.objects.filter(metric__name="bench_read").order_by("pk").values_list("pk", flat=True)[:1]
    found = queries.chart([one], since=now - timedelta(days=1), until=now, step=timedelta(minutes=5), now=now)
    assert len(found.lines[0].points) > 280


def _last_minutes_of_all(now: datetime) -> None:
    (found,) = queries.aggregates([queries.Window("bench_read", "mean", 300, each_series=True)], now=now)
    assert len(found) == READ_SERIES


def _percentile_of_all(now: datetime) -> None:
    (found,) = queries.aggregates([queries.Window("bench_read", "p95", 300, each_series=True)], now=now)
    assert len(found) == READ_SERIES


def _pass_over_a_thousand(now: datetime) -> None:
    DueThreshold.objects.bulk_create(
        [DueThreshold(threshold=one) for one in Threshold.objects.filter(active=True)], ignore_conflicts=True
    )
    assert judging.run() == 1_000


QUESTIONS: dict[str, Callable[[datetime], None]] = {
    "chart_of_24_h_ms": _day_of_one_series,
    "mean_of_5_min_of_1000_series_ms": _last_minutes_of_all,
    "p95_of_5_min_of_1000_series_ms": _percentile_of_all,
    "pass_over_1000_thresholds_ms": _pass_over_a_thousand,
}


def _median_ms(ask: Callable[[datetime], None]) -> float:
    took = []
    for _ in range(REPEATS):
        now = jobs.database_now()
        began = time.perf_counter()
        ask(now)
        took.append((time.perf_counter() - began) * 1000)
    return round(percentile(took, 0.5), 1)


def _until(true: Callable[[], bool], seconds: float, *, every: float = 0.1) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError("the bench waited in vain")
        time.sleep(every)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
