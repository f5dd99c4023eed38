"""The pages of thresholds, alerts, silences and objectives: what stands there, and what is done from there."""

from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse

from monitoring.actions import rollups, silences, slos, specs, thresholds
from monitoring.models import Alert, MaintenanceWindow, Silence, Threshold
from portal import jobs
from tests import make
from tests.make import BY
from tests.monitoring import watching
from tests.monitoring.watching import Clock
from tests.pages import seats

pytestmark = pytest.mark.django_db


@pytest.fixture
def captain() -> Client:
    return seats.captain()


def _page(client: Client, name: str, *args: object, query: str = "") -> str:
    return client.get(reverse(name, args=args) + query).content.decode()


def _fired() -> tuple[Clock, Threshold, Alert]:
    clock = Clock()
    watched = watching.threshold()
    clock.look(0, 500, 510)
    return clock, watched, Alert.objects.get()


def test_the_list_says_value_bound_and_state_of_this_moment(captain: Client) -> None:
    _fired()
    watching.threshold("idle queue", metric="nothing")
    shown = _page(captain, "thresholds")
    for words in ("mean(latency_ms", "&gt; 300", ">505<", "no data", "0 % of 1", "none yet"):
        assert words in shown, words
    assert "idle queue" not in _page(captain, "thresholds", query="?show=firing")
    assert "latency_ms" not in _page(captain, "thresholds", query="?q=idle")


def test_a_silent_one_says_so(captain: Client) -> None:
    _fired()
    matchers = [{"name": "alertname", "value": "latency"}]
    silences.silence(matchers, ends_at=jobs.database_now() + timedelta(hours=1), comment="moving", by=BY)
    assert "silent" in _page(captain, "thresholds")


def test_its_page_shows_the_course_the_alerts_and_the_advice(captain: Client) -> None:
    _, watched, alert = _fired()
    thresholds.change(watched, {"runbook": "Look at https://example.com/runbook"}, by=BY, partly=True)
    shown = _page(captain, "threshold", watched.pk)
    assert "drawing-bound" in shown
    assert 'href="https://example.com/runbook"' in shown
    assert reverse("alert-mark", args=[alert.pk, "mark-false"]) in shown
    for span in ("hour", "day", "week"):
        assert "drawing-line" in _page(captain, "threshold", watched.pk, query=f"?span={span}")


def test_a_preview_says_how_often_it_would_have_fired_and_changes_nothing(captain: Client) -> None:
    clock = Clock()
    watched = watching.threshold()
    # Up and down again, three minutes apart, each in a minute of its own that is over.
    for number, value in enumerate((100, 500, 100, 500, 100)):
        clock.send(-900 + number * 180, value)
    rollups.roll_up(now=clock.at(0))
    address = reverse("threshold-edit", args=[watched.pk])
    body = {"name": "latency", "condition": "mean(latency_ms[1m]) > 300", "do": "preview"}
    shown = captain.post(address, body).content.decode()
    assert "Would have fired <strong>2 times</strong>" in shown
    watched.refresh_from_db()
    assert watched.version == 1
    assert "Would not have fired" in captain.post(address, {**body, "condition": "latency_ms > 900"}).content.decode()
    of_nothing = captain.post(address, {**body, "condition": "other > 1"}).content.decode()
    assert "Nothing is known" in of_nothing
    compared = captain.post(address, {**body, "condition": "latency_ms > 2 vs offset(1h)"}).content.decode()
    assert "cannot be said beforehand" in compared


def test_an_edit_is_saved_or_refused_beside_what_was_typed(captain: Client) -> None:
    watched = watching.threshold(min_count=7)
    address = reverse("threshold-edit", args=[watched.pk])
    body = {"name": "slow", "condition": "p95(latency_ms) > 400 for 1m", "do": "save"}
    assert "is judged by its new condition" in captain.post(address, body, follow=True).content.decode()
    watched.refresh_from_db()
    assert (watched.name, watched.aggregation, watched.error) == ("slow", "p95", 400)
    assert (watched.hold, watched.min_count) == (60, 1)
    wrong = captain.post(address, {**body, "condition": "p95(latency_ms) > soon"}).content.decode()
    assert "expected a number, found &#x27;soon&#x27;" in wrong
    assert "p95(latency_ms) &gt; soon</textarea>" in wrong
    renamed = captain.post(address, {**body, "name": "other", "condition": specs.text(watched)}, follow=True)
    assert "is judged by" in renamed.content.decode()
    watched.refresh_from_db()
    assert (watched.name, watched.hold) == ("other", 60)


def test_a_new_one_is_made_and_taken_away(captain: Client) -> None:
    watching.place()
    body = {"name": "errors", "condition": 'rate(e_total{service="checkout"}) / rate(r_total{service="checkout"}) > 5%'}
    assert "errors is judged from now on" in captain.post(reverse("threshold-new"), body, follow=True).content.decode()
    made = Threshold.objects.get()
    assert (made.denominator, made.error) == ("r_total", 0.05)
    gone = captain.post(reverse("threshold-remove", args=[made.pk]), {"because": "noise"}, follow=True)
    assert "is no longer judged" in gone.content.decode()
    assert captain.get(reverse("threshold", args=[made.pk])).status_code == 404


def test_a_false_alert_is_marked_and_counted(captain: Client) -> None:
    _, watched, alert = _fired()
    address = reverse("alert-mark", args=[alert.pk, "mark-false"])
    assert "counts as false" in captain.post(address, {"because": "a test"}, follow=True).content.decode()
    assert "100 % of 1" in _page(captain, "threshold", watched.pk)
    assert "latency" in _page(captain, "alerts", query="?show=false")
    captain.post(reverse("alert-mark", args=[alert.pk, "unmark"]))
    assert "No alert fits" in _page(captain, "alerts", query="?show=false")
    assert captain.post(reverse("alert-mark", args=[alert.pk, "explode"])).status_code == 404


def test_a_silence_is_made_from_its_form_and_ended(captain: Client) -> None:
    watching.place()
    body = {"matchers": "service=checkout\nlevel!=critical, alertname=~lat.*", "length": "4h", "comment": "moving"}
    assert "Silent until" in captain.post(reverse("silence-new"), body, follow=True).content.decode()
    made = Silence.objects.get()
    assert [(one["name"], one["is_regex"], one["is_equal"]) for one in made.matchers] == [
        ("service", False, True), ("level", False, False), ("alertname", True, True),
    ]  # fmt: skip
    assert "service=checkout, level!=critical, alertname=~lat.*" in _page(captain, "silences")
    assert "is over" in captain.post(reverse("silence-end", args=[made.pk]), follow=True).content.decode()
    assert "service=checkout" in _page(captain, "silences", query="?show=ended")
    bad = captain.post(reverse("silence-new"), {**body, "matchers": "checkout"})
    assert bad.status_code == 400
    assert Silence.objects.count() == 1


def test_maintenance_comes_again_by_the_clock_of_its_zone(captain: Client) -> None:
    watching.place()
    body = {
        "name": "backup", "matchers": "service=checkout", "zone": "Europe/Warsaw", "days": ["sat", "sun"],
        "opens": "02:00", "closes": "04:00",
    }  # fmt: skip
    assert "backup is planned" in captain.post(reverse("maintenance-new"), body, follow=True).content.decode()
    assert "every sat, sun 02:00–04:00 Europe/Warsaw" in _page(captain, "silences")
    once = {"name": "move", "matchers": "service=checkout", "zone": "UTC", "ends_at": "2100-01-01T00:00"}
    captain.post(reverse("maintenance-new"), once)
    assert MaintenanceWindow.objects.count() == 2
    window = MaintenanceWindow.objects.get(name="backup")
    assert "is cancelled" in captain.post(reverse("maintenance-cancel", args=[window.pk]), follow=True).content.decode()


def test_an_objective_shows_its_budget_and_how_fast_it_burns(captain: Client) -> None:
    clock = Clock()
    watching.place()
    spec = {"name": "up", "kind": "uptime", "metric": "probe_up", "objective": 99.0, "matchers": watching.LABELS}
    slos.create("up", {**spec, "window": 86_400}, by=BY)
    for second, value in enumerate((1, 1, 0, 1)):
        clock.send(second - 10, value, metric="probe_up")
    slos.keep_budgets(now=clock.at(1))
    assert ">burning<" not in _page(captain, "slos")
    assert "the budget is spent" in _page(captain, "slo", "up")
    clock.look(1)
    assert ">burning<" in _page(captain, "slos")
    shown = _page(captain, "slo", "up")
    for words in ("14.4 × over 1 h and 5 min", "1 × over 3 d and 6 h", "25 × over 1 h"):
        assert words in shown, words


def test_who_may_only_look_is_shown_no_button() -> None:
    _, watched, alert = _fired()
    viewer = seats.seat(make.person("vic", "viewer"))
    shown = _page(viewer, "threshold", watched.pk)
    assert "None of your roles may change it" in shown
    assert "<textarea" not in _page(viewer, "silences")
    assert "Mark false" not in _page(viewer, "alerts")
    assert viewer.post(reverse("alert-mark", args=[alert.pk, "mark-false"])).status_code == 403
