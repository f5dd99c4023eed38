"""The simulated service's own parts: what it counts, how it bears a portal that is away, who may inject."""

import json
import stat
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.test import Client

from monitoring.actions import errors
from monitoring.models import ErrorGroup, Series
from monitoring.queries import web_vitals
from portal import jobs, keys
from portal.demo import config, pages, people, phrases, scene, tally
from portal.demo.control import Control
from portal.demo.doors import Away, Door, Refused
from portal.demo.failures import Failures
from portal.demo.reporting import Reporting
from portal.demo.tally import Tally
from portal.demo.trouble import Injected, Trouble, Wrong
from rollouts.engine.bucketing import bucket, rollout_seed
from tests import make

LABELS = (("service", "checkout"), ("environment", "production"))


# --- Customers ----------------------------------------------------------------------------------
def test_the_customers_are_the_same_people_at_every_start() -> None:
    assert people.population() == people.population()
    assert len({customer.key for customer in people.population()}) == people.HOW_MANY


def test_every_newcomer_sees_a_canary_of_a_telling_size() -> None:
    seed = rollout_seed(scene.SALT, None)
    buckets = [bucket(seed, customer.key) for customer in people.population()]
    assert sum(one < 5000 for one in buckets) == 21
    assert sum(one < 25_000 for one in buckets) == 101


def test_the_tide_never_runs_dry() -> None:
    day = datetime(2026, 3, 1, tzinfo=UTC)
    heights = [scene.tide(day + timedelta(minutes=10 * step)) for step in range(144)]
    assert min(heights) > 0.5
    assert max(heights) <= 1.0


def test_customers_have_words_for_every_mood_in_both_languages() -> None:
    for words in phrases.PHRASES.values():
        assert set(words) == {"en", "pl"}
        assert all(len(said) >= 3 for said in words.values())


# --- Trouble ------------------------------------------------------------------------------------
def test_what_is_injected_into_the_variant_leaves_the_others_alone() -> None:
    trouble = Trouble()
    trouble.inject({"errors": 0.4})
    assert trouble.of(is_variant=True) == Injected(errors=0.4)
    assert trouble.of(is_variant=False) == Injected()


def test_what_is_not_named_stays() -> None:
    trouble = Trouble()
    trouble.inject({"errors": 0.4})
    trouble.inject({"latency": 900, "angry": True})
    assert trouble.of(is_variant=True) == Injected(errors=0.4, latency=900, angry=True)
    trouble.calm()
    assert not trouble.of(is_variant=True).any


def test_trouble_of_both_arms_reaches_the_baseline_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the small arm might cross its bound before the large one, and the release would be blamed."""
    monkeypatch.setattr("portal.demo.trouble.HEAD_START", 3600.0)  # however slowly this machine goes on
    trouble = Trouble()
    trouble.inject({"errors": 0.4, "arm": "both"})
    assert trouble.of(is_variant=False).errors == 0.4
    assert trouble.of(is_variant=True).errors == 0
    trouble._since -= 3600.0
    assert trouble.of(is_variant=True).errors == 0.4


def test_trouble_belongs_to_the_release_that_it_was_injected_into() -> None:
    trouble = Trouble()
    trouble.inject({"errors": 0.4})
    injected_at = trouble._since
    assert not trouble.calm_if_before(injected_at - 1), "injected after that release had ended: it waits for the next"
    assert trouble.calm_if_before(injected_at + 1)
    assert not trouble.of(is_variant=True).any


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ({"errors": 1.5}, "errors"),
        ({"errors": "many"}, "errors"),
        ({"errors": True}, "errors"),
        ({"latency": -1}, "latency"),
        ({"latency": float("nan")}, "latency"),
        ({"angry": 1}, "angry"),
        ({"arm": "left"}, "arm"),
        ({"rain": 1}, "rain"),
    ],
)
def test_nonsense_is_refused_by_name_and_changes_nothing(asked: dict[str, Any], named: str) -> None:
    trouble = Trouble()
    trouble.inject({"errors": 0.2})
    with pytest.raises(Wrong, match=named):
        trouble.inject(asked)
    assert trouble.of(is_variant=True) == Injected(errors=0.2)


# --- Counting -----------------------------------------------------------------------------------
def test_counters_grow_and_distributions_hold_what_is_new() -> None:
    counted = Tally()
    counted.count(LABELS, requests=8, errors=1, seconds=[0.1] * 8)
    counted.close()
    counted.count(LABELS, requests=8, errors=0, seconds=[0.3] * 8)
    counted.close()
    first, second = counted.oldest(9)
    assert [report.counters[scene.REQUESTS, LABELS] for report in (first, second)] == [8, 16]
    assert [report.spreads[LABELS].count for report in (first, second)] == [8, 8]
    value = second.samples()[-1]["value"]
    assert value["count"] == sum(times for _, times in value["buckets"])


def test_nothing_is_lost_when_the_portal_is_away_for_longer_than_reports_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tally, "KEPT", 5)
    counted = Tally()
    for _ in range(40):
        counted.count(LABELS, requests=8, errors=0, seconds=[0.1] * 8)
        counted.close()
    kept = counted.oldest(100)
    assert len(kept) == 5
    assert sum(report.spreads[LABELS].count for report in kept) == 320
    assert kept[-1].counters[scene.REQUESTS, LABELS] == 320
    counted.forget(kept)
    assert counted.backlog == 0


class Portal(ThreadingHTTPServer):
    """Only the edge: answers what the test says, and keeps what it took."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.answers: list[tuple[int, dict[str, str]]] = []
        self.taken: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Answers(BaseHTTPRequestHandler):
    server: Portal

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        status, headers = self.server.answers.pop(0) if self.server.answers else (200, {})
        if status == 200:
            self.server.taken.extend(body.get("samples", []))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: Any) -> None:
        """The test reads what was taken."""


@pytest.fixture
def portal() -> Iterator[Portal]:
    server = Portal()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def test_a_portal_that_is_away_gets_every_report_when_it_is_back(portal: Portal) -> None:
    counted = Tally()
    reporting = Reporting(Door(portal.url, "key"), counted, every=0.01)
    portal.answers = [(503, {"Retry-After": "0"}), (500, {}), (429, {"Retry-After": "0"}), (401, {})]
    for _ in range(4):
        counted.count(LABELS, requests=8, errors=2, seconds=[0.1] * 8)
        counted.close()
        with pytest.raises(Away):
            reporting._send_all()
    reporting._send_all()
    assert counted.backlog == 0
    grown = [sample["value"] for sample in portal.taken if sample["metric"] == scene.REQUESTS]
    assert grown == [8, 16, 24, 32]
    assert sum(one["value"]["count"] for one in portal.taken if one["metric"] == scene.LATENCY) == 32


def test_a_portal_that_is_not_there_is_away_not_a_crash() -> None:
    with pytest.raises(Away):
        Door("http://127.0.0.1:1", "key").get("/api/v1/deployments/")


def test_retry_after_is_heard(portal: Portal) -> None:
    portal.answers = [(429, {"Retry-After": "7"}), (409, {})]
    door = Door(portal.url, "key")
    with pytest.raises(Away) as away:
        door.post("/api/v1/samples/", {})
    assert away.value.after == 7
    with pytest.raises(Refused) as refused:
        door.post("/api/v1/samples/", {})
    assert refused.value.status == 409


# --- The door of its own ------------------------------------------------------------------------
@pytest.fixture
def control(tmp_path: Path) -> Iterator[Control]:
    trouble = Trouble()
    made = Control(tmp_path, trouble, trouble.shown)
    made.serve()
    yield made
    made.close()
    assert not (tmp_path / scene.CONTROL_FILE).exists()


def ask(control: Control, method: str = "POST", path: str = "/inject", **options: Any) -> httpx.Response:
    url = f"http://127.0.0.1:{control.server_address[1]}{path}"
    options.setdefault("headers", {"Authorization": f"Bearer {control.token}"})
    return httpx.request(method, url, trust_env=False, timeout=10, **options)


def test_its_address_and_token_are_for_its_owner_alone(control: Control, tmp_path: Path) -> None:
    path = tmp_path / scene.CONTROL_FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text())["token"] == control.token
    assert control.server_address[0] == "127.0.0.1"


def test_who_has_the_token_injects(control: Control) -> None:
    answer = ask(control, json={"errors": 0.35})
    assert (answer.status_code, answer.json()["errors"]) == (200, 0.35)
    assert ask(control, "GET", "/state").json()["errors"] == 0.35


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer \u00e9"}])
def test_who_has_not_learns_nothing(control: Control, headers: dict[str, str]) -> None:
    encoded = {name: value.encode("latin-1") for name, value in headers.items()}
    for method, path in (("POST", "/inject"), ("GET", "/state"), ("GET", "/anything")):
        assert ask(control, method, path, headers=encoded).status_code == 401
    assert not control.trouble.of(is_variant=True).any


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"json": {"errors": 7}}, 400),
        ({"json": []}, 400),
        ({"content": b"{"}, 400),
        ({"content": b"\xff\xfe"}, 400),
        ({"content": b"[" * 2000}, 400),
        ({"content": b" " * 5000}, 413),
        ({"path": "/nothing", "json": {}}, 404),
        ({"method": "GET", "path": "/inject"}, 404),
    ],
)
def test_bad_input_is_answered_and_changes_nothing(control: Control, options: dict[str, Any], status: int) -> None:
    assert ask(control, **options).status_code == status
    assert not control.trouble.of(is_variant=True).any
    assert ask(control, "GET", "/state").status_code == 200


# --- Starting -----------------------------------------------------------------------------------
def test_without_its_keys_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTAL_DATA_DIR", str(tmp_path))
    with pytest.raises(config.Unknown, match=r"manage\.py demo"):
        config.read()


def test_a_pace_that_is_none_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTAL_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("PORTAL_DEMO_URL", "http://127.0.0.1:8000/")
    (tmp_path / scene.KEYS_FILE).write_text("{}")
    assert config.read().portal == "http://127.0.0.1:8000"
    monkeypatch.setenv("PORTAL_DEMO_PAUSE", "soon")
    with pytest.raises(config.Unknown, match="PORTAL_DEMO_PAUSE"):
        config.read()


# --- Pages --------------------------------------------------------------------------------------
@pytest.mark.django_db
def test_what_a_page_view_tells_is_taken_whole_by_the_portal() -> None:
    service, place = make.service(scene.SERVICE), make.environment(scene.ENVIRONMENT)
    raw = keys.create(
        "pages", scopes=["browser"], environments=[place], services=[service], from_origins=[pages.ORIGIN], by=make.BY
    )[1]
    told = pages.Pages(Door("http://127.0.0.1:1", raw))
    for number, customer in enumerate(people.population()[:12]):
        view = told.view(customer, "green", "2026.48", errors=2 * (number % 2), slowest=0.3)
        answer = Client().post(
            pages.PATH,
            json.dumps(view.report),
            content_type="application/json",
            headers={"X-API-Key": raw, "Origin": pages.ORIGIN, "User-Agent": view.agent},
        )
        assert answer.status_code == 204, answer.content
    (row,) = web_vitals.rows(Series.objects.all(), span=timedelta(days=1), now=jobs.database_now())
    assert row.views == 12
    devices = set(Series.objects.values_list("labels__device", "labels__browser"))
    assert ("phone", "safari") in devices
    assert len(devices) >= 3
    group = ErrorGroup.objects.get(type="TypeError")
    assert group.count >= 6
    assert group.last_release == "2026.48"


# --- Errors -------------------------------------------------------------------------------------
def test_a_storm_of_failures_is_told_in_a_few_reports_that_the_portal_takes(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However slowly this machine goes on.
    monkeypatch.setattr("portal.demo.failures.AT_MOST_EVERY", 3600.0)
    make.service(scene.SERVICE)
    make.environment(scene.ENVIRONMENT)
    failures, customer = Failures(Door("http://127.0.0.1:1", "none")), people.population()[0]
    for injected in (True, True, False):
        failures.happened(customer, "2026.47", injected=injected)
        if not injected:
            break
        failures._not_before = 0.0
    told = [failures._waiting.get_nowait() for _ in range(3)]
    for _ in range(1000):
        failures.happened(customer, "", injected=True)
    assert failures._waiting.empty(), "one in that time"
    assert errors.record(told, by=make.BY).accepted == 3
    assert set(ErrorGroup.objects.values_list("type", "severity", "count", "last_release")) == {
        ("AddressServiceBusy", "critical", 2, "2026.47"),
        ("KeyError", "error", 1, "2026.47"),
    }
