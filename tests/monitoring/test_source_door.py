"""Sources by REST, in documents, in the admin and on pages; and where none of them may lead."""

import socket
from typing import Any

import pytest
import yaml
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from pytest_django.fixtures import Settings

from monitoring.actions import pulling, sources
from monitoring.models import MetricSource, Sample
from portal import outgoing
from portal.config import applying
from portal.config.kinds import Scope
from portal.config.reading import Source
from portal.errors import Invalid
from portal.models import AuditEntry
from tests import make
from tests.make import BY
from tests.monitoring import targets
from tests.monitoring.doors import Caller, fields
from tests.monitoring.targets import answering
from tests.pages import seats

pytestmark = pytest.mark.django_db
PUBLIC = {"name": "checkout", "kind": "scrape", "config": {"url": "https://example.com/metrics"}}


@pytest.fixture
def allowed(settings: Settings) -> None:
    settings.PORTAL_OUTGOING_ALLOW = ["127.0.0.0/8"]


@pytest.fixture
def call() -> Caller:
    return Caller("write")


def test_a_source_is_made_read_changed_and_taken_away(call: Caller) -> None:
    make.service("shop"), make.environment("staging")
    status, made = call.post(
        "sources/", {**PUBLIC, "secret": "sesame", "service": "shop", "environment": "staging", "labels": {"a": "b"}}
    )
    assert (status, made["has_secret"], made["outcome"], made["interval"]) == (201, True, "waiting", 15)
    assert "secret" not in made
    assert call.get(f"sources/{made['id']}/") == made
    assert [one["name"] for one in call.get("sources/?kind=scrape&service=shop")["results"]] == ["checkout"]
    assert call.get("sources/?kind=tcp")["count"] == 0
    status, changed = call("PATCH", f"sources/{made['id']}/", {"interval": 60, "active": False})
    assert (status, changed["interval"], changed["active"], changed["has_secret"]) == (200, 60, False, True)
    status, replaced = call("PUT", f"sources/{made['id']}/", PUBLIC)
    assert (status, replaced["service"], replaced["labels"], replaced["active"]) == (200, None, {}, True)
    assert call("DELETE", f"sources/{made['id']}/")[0] == 204
    verbs = AuditEntry.objects.filter(object_type="monitoring.metricsource").order_by("pk")
    assert [one.verb for one in verbs] == ["source.created", "source.changed", "source.changed", "source.deleted"]
    assert "sesame" not in str(list(verbs.values_list("before", "after")))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"kind": "carrier pigeon"}, "kind"),
        ({"name": ""}, "name"),
        ({"interval": 0}, "interval"),
        ({"timeout": 31}, "timeout"),
        ({"timeout": 20, "interval": 15}, "timeout"),
        ({"labels": {"environment": "x"}}, "labels.environment"),
        ({"labels": {"job": "x"}}, "labels.job"),
        ({"labels": {"1x": "x"}}, "labels"),
        ({"secret": "line\nbreak"}, "secret"),
        ({"config": {}}, "config.url"),
        ({"config": {"url": "https://example.com/", "auth": "basic"}}, "config.user"),
        ({"config": {"url": "https://example.com/", "auth": "magic"}}, "config.auth"),
        ({"config": {"url": "https://example.com/", "headers": {"Host": "x"}}}, "config.headers.Host"),
        ({"config": {"url": "https://example.com/", "headers": {"X": "a\r\nb"}}}, "config.headers.X"),
        ({"config": {"url": "https://example.com/", "colour": "red"}}, "config.colour"),
        ({"kind": "prometheus"}, "config.queries"),
        ({"kind": "prometheus", "config": {"url": "https://example.com", "queries": [{}]}}, "config.queries[0].query"),
        ({"kind": "http", "config": {"url": "https://example.com/", "expect_status": [7]}}, "config.expect_status"),
        ({"kind": "tcp", "config": {"host": "example.com", "port": 0}}, "config.port"),
        ({"kind": "tcp", "config": {"host": "a b", "port": 1}}, "config.host"),
        ({"kind": "host"}, "config.url"),
    ],
)
def test_what_is_wrong_is_named(call: Caller, change: dict[str, Any], field: str) -> None:
    status, body = call.post("sources/", {**PUBLIC, **change})
    assert (status, fields(body)) == (400, {field})
    assert not MetricSource.objects.exists()


def test_two_of_one_name_are_refused(call: Caller) -> None:
    call.post("sources/", PUBLIC)
    status, body = call.post("sources/", PUBLIC)
    assert (status, body["detail"]) == (409, "there is a source named checkout already")


def test_a_secret_does_not_follow_to_another_address(call: Caller) -> None:
    made = call.post("sources/", {**PUBLIC, "secret": "sesame"})[1]
    elsewhere = {"config": {"url": "https://example.org/metrics"}}
    status, body = call("PATCH", f"sources/{made['id']}/", elsewhere)
    assert (status, fields(body)) == (400, {"secret"})
    assert call("PATCH", f"sources/{made['id']}/", {"config": {"url": "https://example.com/other"}})[0] == 200
    assert call("PATCH", f"sources/{made['id']}/", {**elsewhere, "secret": "new"})[0] == 200


def test_nobody_asks_for_a_place_that_is_not_his() -> None:
    staging, shop = make.environment("staging"), make.service("shop")
    production = make.environment("production")
    mine = Caller("write", environments=[staging], services=[shop])
    here = {**PUBLIC, "environment": "staging", "service": "shop"}
    assert mine.post("sources/", {**here, "environment": "production"})[0] == 403
    assert mine.post("sources/", PUBLIC)[0] == 403  # without a place it could bring samples of every place
    status, made = mine.post("sources/", here)
    assert status == 201
    assert mine("PATCH", f"sources/{made['id']}/", {"environment": "production"})[0] == 403
    other = sources.create({**PUBLIC, "name": "other", "environment": production}, by=BY)
    assert mine("GET", f"sources/{other.pk}/")[0] == 404
    assert mine.post(f"sources/{other.pk}/try/")[0] == 404
    assert Caller("read")("GET", "sources/")[0] == 403


@pytest.mark.usefixtures("allowed")
def test_it_can_be_tried_and_nothing_is_kept(call: Caller) -> None:
    with targets.running(answering('a{x="1"} 1\nb NaN\nc{x="1",x="2"} 1\n')) as target:
        body = {"name": "new", "kind": "scrape", "config": {"url": target.url}, "labels": {"team": "x"}}
        status, tried = call.post("sources/try/", body)
        assert (status, tried["error"], tried["skipped"], tried["rejected"]) == (200, "", 1, 1)
        first = tried["samples"][0]
        assert (first["metric"], first["value"]) == ("a", 1.0)
        assert first["labels"] == {"x": "1", "team": "x", "job": "new", "instance": f"127.0.0.1:{target.port}"}
        assert tried["total"] == 5  # with up and what was measured of the scrape, and the one that is rejected
        made = call.post("sources/", body)[1]
        target.act = answering("", status="500 Oops")
        assert call.post(f"sources/{made['id']}/try/")[1]["error"] == "HTTP 500"
    assert not Sample.objects.exists()
    assert not MetricSource.objects.exclude(last_pull_at=None).exists()


def test_it_can_be_asked_at_once_but_not_while_paused(call: Caller) -> None:
    made = call.post("sources/", PUBLIC)[1]
    MetricSource.objects.update(due_at="2100-01-01T00:00:00Z")
    assert call.post(f"sources/{made['id']}/pull/")[0] == 202
    assert pulling.lease() is not None
    call("PATCH", f"sources/{made['id']}/", {"active": False})
    assert call.post(f"sources/{made['id']}/pull/")[0] == 409
    assert pulling.lease() is None


INSIDE = (
    "127.0.0.1", "10.1.2.3", "192.168.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1", "[::1]",
    "[::ffff:127.0.0.1]", "[::ffff:a9fe:a9fe]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[fe80::1]", "[fd00::1]",
    "2130706433", "0x7f.1", "localhost", "inside.example",
)  # fmt: skip


@pytest.mark.parametrize("host", INSIDE)
@pytest.mark.parametrize("kind", ["scrape", "prometheus", "http", "tcp"])
def test_no_source_leads_inside(kind: str, host: str, monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    """Refused when it is written, where that can be seen, and each time it is asked in any case."""
    settings.PORTAL_OUTGOING_ALLOW = []
    real = socket.getaddrinfo

    def resolve(name: str, port: int, *args: Any, **kwargs: Any) -> Any:
        return real("127.0.0.1" if name == "inside.example" else name, port, *args, **kwargs)

    monkeypatch.setattr(outgoing.socket, "getaddrinfo", resolve)
    bare = host.strip("[]")
    configs: dict[str, dict[str, Any]] = {
        "scrape": {"url": f"http://{host}:9/metrics"},
        "prometheus": {"url": f"https://{host}:9", "queries": [{"query": "up", "metric": "up"}]},
        "http": {"url": f"https://{host}:9/"},
        "tcp": {"host": bare, "port": 9, "protocol": "tls"},
    }
    status, body = Caller("write").post("sources/try/", {"name": "inside", "kind": kind, "config": configs[kind]})
    told = body["error"] if status == 200 else body["detail"]
    assert "inside a network that outgoing requests may not reach" in told


@pytest.mark.usefixtures("allowed")
@pytest.mark.parametrize("kind", ["scrape", "prometheus", "http"])
def test_no_source_is_led_inside_by_a_redirect(kind: str) -> None:
    with targets.running(answering("secret")) as inside:
        answer = answering("", status="302 Found", more=f"Location: http://127.0.0.1:{inside.port}/\r\n")
        with targets.running(answer) as target:
            config: dict[str, Any] = {"url": target.url}
            if kind == "prometheus":
                config["queries"] = [{"query": "up", "metric": "up"}]
            tried = sources.try_out({"name": "led", "kind": kind, "config": config}, by=BY)
    assert "redirects are not followed" in tried.error
    assert inside.heard == []


def test_sources_stand_in_documents() -> None:
    make.environment("staging")
    text = """
sources:
  checkout: {kind: scrape, config: {url: "https://example.com/metrics"}, environment: staging, interval: 30}
"""
    document = applying.read(Source(yaml.safe_load(text), "test", {}))
    assert [(one.path, one.does) for one in applying.apply(document, by=BY).changes] == [("sources.checkout", "create")]
    assert [one.does for one in applying.apply(document, by=BY).changes] == ["keep"]
    MetricSource.objects.update(secret="sesame")
    exported, left_out = applying.export(Scope(BY))
    told = exported["sources"]["checkout"]
    assert (told["kind"], told["environment"], told["interval"]) == ("scrape", "staging", 30)
    assert left_out == ["source checkout: its secret"]
    assert "sesame" not in str(exported)
    again = applying.read(Source({"sources": exported["sources"]}, "test", {}))
    assert [one.does for one in applying.apply(again, by=BY).changes] == ["keep"]
    wrong = applying.read(Source({"sources": {"x": {**told, "environment": "mars", "secret": "s"}}}, "test", {}))
    with pytest.raises(Invalid, match="secrets do not stand in documents"):
        applying.apply(wrong, by=BY)


@pytest.mark.usefixtures("allowed")
def test_the_pages_show_how_it_is_and_have_buttons() -> None:
    with targets.running(answering("a 1\n", status="500 Oops")) as target:
        source = sources.create({"name": "shaky", "kind": "scrape", "config": {"url": target.url}}, by=BY)
        pulling.pull()
        dana, vic = seats.captain(), seats.seat(make.person("vic", "viewer"))
        assert "HTTP 500 a 1" in dana.get(reverse("sources")).content.decode()
        assert "shaky" in dana.get(reverse("sources"), {"show": "trouble"}).content.decode()
        assert "shaky" not in dana.get(reverse("sources"), {"show": "paused"}).content.decode()
        page = reverse("source", args=[source.pk])
        assert target.url in dana.get(page).content.decode()
        assert target.url not in vic.get(page).content.decode()  # an address may be a secret
        frame = dana.get(reverse("source-frame", args=[source.pk])).json()
        assert [value for _, value in frame["series"]["up:now"]] == [0.0]
        target.act = answering("a 1\n")
        shown = dana.post(reverse("source-try", args=[source.pk])).content.decode()
        assert "what a pull would bring" in shown
        assert vic.post(reverse("source-try", args=[source.pk])).status_code == 403
    assert press(dana, source, "pull") == "shaky is asked at once."
    assert press(dana, source, "pause") == "shaky is paused."
    assert press(dana, source, "resume") == "shaky is asked again."
    assert press(vic, source, "pause") != "shaky is paused."
    source.refresh_from_db()
    assert source.active


def press(client: Client, source: MetricSource, verb: str) -> str:
    answer = client.post(reverse("source-press", args=[source.pk, verb]), {"because": "a try"}, follow=True)
    return " ".join(str(message) for message in answer.context["messages"]) if answer.context else ""


def test_the_list_costs_the_same_for_two_and_for_twelve() -> None:
    dana = seats.captain()
    costs = []
    for count in (2, 12):
        for n in range(count):
            if not MetricSource.objects.filter(name=f"s{n}").exists():
                place = {"environment": make.environment(f"e{n}"), "service": make.service(f"s{n}")}
                sources.create({**PUBLIC, "name": f"s{n}", **place}, by=BY)
        with CaptureQueriesContext(connection) as asked:
            assert dana.get(reverse("sources")).status_code == 200
        costs.append(len(asked))
    assert costs[0] == costs[1] <= 9


@pytest.mark.usefixtures("allowed")
def test_the_admin_makes_changes_and_tries() -> None:
    root = seats.owner()
    with targets.running(answering("a 1\n")) as target:
        form = {
            "name": "shop", "kind": "scrape", "config": f'{{"url": "{target.url}"}}', "secret": "sesame",
            "labels": "{}", "interval": "15", "timeout": "5", "active": "on",
        }  # fmt: skip
        assert root.post(reverse("admin:monitoring_metricsource_add"), form).status_code == 302
        source = MetricSource.objects.get()
        there = reverse("admin:monitoring_metricsource_change", args=[source.pk])
        assert "sesame" not in root.get(there).content.decode()
        assert root.post(there, {**form, "secret": "", "interval": "30"}).status_code == 302
        source.refresh_from_db()
        assert (source.interval, source.secret) == (30, "sesame")
        answer = root.post(f"{there[:-7]}press/try_/", follow=True)
        assert "it answers: 4 samples in" in answer.content.decode()
