"""A newcomer's first start, on real parts: a canary is broken and taken back, the next comes, and all of it goes."""

import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, LiteralString

import httpx
import psutil
import psycopg
import pytest

from portal.demo import scene
from portal.management.demo.cast import CAST, PASSWORD
from tests import migrated
from tests.running import Running, wait_for

# One portal is shared by all of them, in their order.
pytestmark = pytest.mark.xdist_group("demo")
# The next release is the other build: it is not judged by the last one's errors.
PACE = {"PORTAL_DEMO_PAUSE": "15", "PORTAL_DEMO_VISITS": "60"}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return migrated.into(tmp_path_factory.mktemp("first") / "data")


@pytest.fixture(scope="module")
def portal(data_dir: Path) -> Iterator[Running]:
    running = Running(data_dir, "--port", "0", env=PACE, demo=())
    yield running.wait_ready()
    running.end()


@pytest.fixture(scope="module")
def api(portal: Running) -> Iterator[httpx.Client]:
    """With the simulated service's own key."""
    key = json.loads((portal.data_dir / scene.KEYS_FILE).read_text())["write"]
    with httpx.Client(base_url=portal.url or "", headers={"X-API-Key": key}, timeout=20, trust_env=False) as client:
        yield client


@pytest.fixture(scope="module")
def dana(portal: Running) -> Iterator["Visitor"]:
    with Visitor(portal) as visitor:
        visitor.sit("dana")
        yield visitor


class Visitor(httpx.Client):
    """A browser without eyes: signed in, with the token of the page that it has just read."""

    def __init__(self, portal: Running) -> None:
        super().__init__(base_url=portal.url or "", timeout=30, trust_env=False, follow_redirects=True)

    def press(self, page: str, address: str, **fields: str) -> httpx.Response:
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', self.get(page).text)
        assert token, f"{page} has no form"
        return self.post(
            address, data={"csrfmiddlewaretoken": token[1], **fields}, headers={"Referer": f"{self.base_url}"}
        )

    def sit(self, username: str) -> None:
        answer = self.press("/login/", "/login/", username=username, password=PASSWORD, next="/")
        assert "Mission control" in answer.text


def state(portal: Running) -> dict[str, Any]:
    """What the simulated service says of itself, by its own door."""
    held = json.loads((portal.data_dir / scene.CONTROL_FILE).read_text())
    answer = httpx.get(
        f"{held['url']}/state", headers={"Authorization": f"Bearer {held['token']}"}, timeout=20, trust_env=False
    )
    found: dict[str, Any] = answer.json()
    return found


def asked(portal: Running, question: LiteralString) -> tuple[Any, ...]:
    """The first row that its database answers with."""
    with psycopg.connect(portal.runtime["database_url"]) as connection:
        row = connection.execute(question).fetchone()
    assert row is not None
    return row


def runs(api: httpx.Client) -> list[dict[str, Any]]:
    """The newest first."""
    found = api.get("/api/v1/deployments/", params={"service": scene.SERVICE, "environment": scene.ENVIRONMENT}).json()
    rows: list[dict[str, Any]] = found["results"]
    return rows


def newest(api: httpx.Client) -> dict[str, Any]:
    return runs(api)[0]


def test_the_ready_lines_name_the_seats_and_no_key(portal: Running) -> None:
    last = f"  {CAST[-1].username} "
    wait_for(lambda: any(line.startswith(last) for line in portal.lines), "the seats are said")
    text = portal.text
    assert PASSWORD in text
    assert all(re.search(rf"^  {part.username} +{part.role}$", text, re.MULTILINE) for part in CAST)
    held = json.loads((portal.data_dir / scene.KEYS_FILE).read_text())
    assert not [raw for raw in held.values() if raw in text]


def test_the_service_is_a_child_that_knows_no_server_of_ours(portal: Running) -> None:
    process = psutil.Process(portal.children["demo"])
    assert process.cmdline()[-2:] == ["-m", "portal.demo"]
    assert not {"DATABASE_URL", "REDIS_URL"} & set(process.environ())


def test_users_are_decided_for_measured_and_heard(portal: Running, api: httpx.Client) -> None:
    wait_for(lambda: (portal.data_dir / scene.CONTROL_FILE).exists(), "the simulated service runs")
    wait_for(lambda: state(portal)["evaluations"] > 100, "flags are evaluated")
    wait_for(lambda: state(portal)["samples_sent"] > 100, "samples are taken")
    assert newest(api)["version"] == scene.FIRST_LIVE_VERSION
    wait_for(lambda: state(portal)["release"]["variant"] != "", "the service knows the build that is rolled out")
    wait_for(lambda: min(gate["count"] or 0 for gate in newest(api)["stages"][0]["gates"]) > 50, "the gates count")


def test_the_visitor_sees_the_canary(portal: Running, dana: Visitor) -> None:
    page = dana.get("/").text
    assert scene.FIRST_LIVE_VERSION in page
    assert "Five minutes with the demo" in page


def test_injected_errors_are_taken_back_within_seconds(
    portal: Running, api: httpx.Client, dana: Visitor, capsys: pytest.CaptureFixture[str]
) -> None:
    run = newest(api)
    assert run["status"] == "progressing", run
    answer = dana.press("/demo/", "/demo/inject/errors/", back="/demo/")
    pressed = time.monotonic()
    assert "takes the release back within seconds" in answer.text

    def this_one() -> dict[str, Any]:
        # The next one may begin before it is looked at.
        found: dict[str, Any] = api.get(f"/api/v1/deployments/{run['id']}/").json()
        return found

    wait_for(lambda: this_one()["status"] == "rolled_back", "the release is taken back")
    took = time.monotonic() - pressed
    run = this_one()
    assert run["weight"] == 0
    assert "errors of" in run["held_because"]
    incidents = api.get("/api/v1/incidents/", params={"target": f"deployment:{run['id']}"}).json()["results"]
    assert len(incidents) == 1
    incident = api.get(f"/api/v1/incidents/{incidents[0]['id']}/").json()
    assert {"opened", "response.done", "mitigated"} <= {line["kind"] for line in incident["timeline"]}
    assert dana.get(f"/incidents/{incident['id']}/").status_code == 200
    with capsys.disabled():
        print(f"\nfrom pressing inject errors to the rollback: {took:.1f} s")


def test_the_program_takes_little(portal: Running, capsys: pytest.CaptureFixture[str]) -> None:
    process = psutil.Process(portal.children["demo"])
    process.cpu_percent()
    time.sleep(2)
    share = process.cpu_percent()
    with capsys.disabled():
        pace = PACE["PORTAL_DEMO_VISITS"]
        print(f"\nthe simulated service: {share:.1f} % of a core at {pace} visits/s and below")
    assert state(portal)["evaluations"] > 0


def test_what_was_counted_while_the_portal_was_away_arrives(portal: Running) -> None:
    web = psutil.Process(portal.children["web"])
    before = state(portal)["samples_sent"]
    web.suspend()
    try:
        wait_for(lambda: state(portal)["reports_waiting"] > 1, "reports wait")
        visits = state(portal)["visits"]
        wait_for(lambda: state(portal)["visits"] > visits, "the shop goes on without its flags being answered")
    finally:
        web.resume()
    wait_for(lambda: state(portal)["reports_waiting"] == 0, "the reports have arrived")
    # A report leaves the queue a moment before it counts as sent.
    wait_for(lambda: state(portal)["samples_sent"] > before, "they count as sent")


def test_the_next_release_comes_and_is_without_the_fault(portal: Running, api: httpx.Client) -> None:
    """It may have begun already: a busy machine is slow to look."""

    def next_one() -> dict[str, Any]:
        return next((one for one in runs(api) if one["version"] == "2026.48"), {"status": "none"})

    wait_for(lambda: next_one()["status"] in ("progressing", "succeeded"), "the next release is under way")
    assert not state(portal)["injected"]["errors"]


def test_a_second_start_goes_on_where_the_first_one_ended(data_dir: Path, portal: Running) -> None:
    (count,) = asked(portal, "SELECT count(*) FROM rollouts_deployment")
    assert portal.interrupt() == 0
    assert not (data_dir / scene.CONTROL_FILE).exists()
    again = Running(data_dir, "--port", "0", env=PACE, demo=()).wait_ready()
    try:
        assert "loading the demo" not in again.text
        wait_for(lambda: (data_dir / scene.CONTROL_FILE).exists(), "the simulated service runs again")
        assert asked(again, "SELECT count(*) FROM rollouts_deployment") >= (count,)
        _starts_empty(again, data_dir)
    finally:
        again.end()


def _starts_empty(portal: Running, data_dir: Path) -> None:
    made = portal.manage(
        "shell", "-c", "from portal.models import User; User.objects.create_superuser('boss', password='x')"
    )
    assert made.returncode == 0, made.stderr
    web, shop = portal.children["web"], psutil.Process(portal.children["demo"])
    with Visitor(portal) as olga:
        olga.sit("olga")
        answer = olga.press("/demo/", "/demo/start-empty/", because="ours begins here", sure="yes")
        assert "made anew" in answer.text
        wait_for(lambda: any(line.startswith("ready again") for line in portal.lines), "the portal is empty")
    wait_for(lambda: not shop.is_running() or shop.status() == psutil.STATUS_ZOMBIE, "the shop has ended")
    assert portal.children.get("demo") is None
    assert portal.children["web"] != web
    page = portal.get("/login/").text
    assert PASSWORD not in page
    assert "Dana" not in page
    assert not (data_dir / scene.KEYS_FILE).exists()
    assert asked(portal, "SELECT array_agg(username::text) FROM portal_user") == (["boss"],)
    empty = "SELECT (SELECT count(*) FROM rollouts_deployment), (SELECT count(*) FROM rollouts_flag)"
    assert asked(portal, empty) == (0, 0)
    first = "SELECT verb, because, after ->> 'asked_by' FROM portal_auditentry ORDER BY id LIMIT 1"
    assert asked(portal, first) == ("portal.emptied", "ours begins here", "Olga Brandt (olga)")
    assert os.path.getsize(data_dir / "runtime.json") > 0
    wait_for(portal.is_well, "every sweep works on the new database")
    again = portal.manage("demo", "--start-empty", "twice")
    assert again.returncode != 0
    assert "not loaded" in again.stderr
    loaded = portal.manage("demo")
    assert loaded.returncode == 0, loaded.stderr


def test_a_portal_that_is_reached_from_outside_is_empty_unless_asked(tmp_path: Path) -> None:
    data = migrated.into(tmp_path / "data")
    running = Running(data, "--port", "0", "--host", "0.0.0.0", demo=()).wait_ready()
    try:
        assert "the demo's password is known to all" in running.text
        assert PASSWORD not in running.get("/login/").text
        assert "demo" not in running.children
    finally:
        running.end()
