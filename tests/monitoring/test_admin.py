"""Thresholds, alerts, incidents, channels and the outbox in the admin: pages that show, buttons that act."""

import re
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from monitoring.actions import incidents, outbox, thresholds
from monitoring.models import (
    Alert,
    Channel,
    Incident,
    IncidentDefinition,
    OutboxMessage,
    PostMortem,
    ResponseRun,
    Threshold,
)
from tests import make
from tests.monitoring import watching
from tests.monitoring.watching import BY, Clock, the_incident

pytestmark = pytest.mark.django_db
NOUNS = (
    *("threshold", "alertstate", "alert", "incident", "incidentdefinition"),
    *("timelineentry", "responserun", "channel", "outboxmessage"),
)


@pytest.fixture
def owner(db: None) -> Client:
    client = Client()
    client.force_login(make.person("olga", "owner", is_staff=True))
    return client


def address(noun: str, page: str, *args: Any) -> str:
    return reverse(f"admin:monitoring_{noun}_{page}", args=args)


def press(client: Client, noun: str, pk: int, name: str, because: str = "") -> str:
    """What the page says after the button was pressed."""
    answer = client.post(address(noun, "press", pk, name), {"because": because}, follow=True)
    assert answer.status_code == 200
    return " ".join(str(message) for message in answer.context["messages"])


def something_of_everything(number: int) -> None:
    clock = Clock()
    deeds = watching.deeds()
    deeds.refuse = "not now"
    channel = Channel.objects.create(name=f"c{number}", kind="webhook", config={"url": "https://example.com/"})
    definition = IncidentDefinition.objects.create(key=f"d{number}", name="D", rank=1)
    definition.channels.add(channel)
    threshold = watching.threshold(f"t{number}", response="take_back", target=f"deployment:{number}")
    definition.thresholds.add(threshold)
    clock.look(number + 1, 500)


def test_every_list_costs_the_same_for_two_rows_and_for_twelve(owner: Client) -> None:
    costs: dict[str, list[int]] = {noun: [] for noun in NOUNS}
    made = 0
    for rows in (2, 12):
        while made < rows:
            something_of_everything(made)
            made += 1
        for noun in NOUNS:
            owner.get(address(noun, "changelist"))
            with CaptureQueriesContext(
                connection,
            ) as queries:
                page = owner.get(address(noun, "changelist"))
            assert page.status_code == 200
            costs[noun].append(len(queries))
    assert {noun: few for noun, (few, many) in costs.items() if few != many} == {}


def test_every_page_of_every_row_shows(owner: Client) -> None:
    something_of_everything(0)
    for model in (Threshold, Alert, Incident, IncidentDefinition, Channel, OutboxMessage, ResponseRun):
        noun = str(model._meta.model_name)
        page = owner.get(address(noun, "change", model.objects.latest("id").pk))
        assert page.status_code == 200, noun
        assert b'name="status"' not in page.content


def test_a_threshold_is_made_and_changed_by_form(owner: Client) -> None:
    watching.place()
    form = {
        "name": "latency",
        "metric": "latency_ms",
        "aggregation": "p95",
        "matchers": '{"service": "checkout"}',
        "operator": ">",
        "error": "300",
        "window": "60",
        "interval": "10",
        "hold": "5",
        "keep_firing_for": "0",
        "min_count": "1",
        "no_data": "keep",
        "on_error": "keep",
        "flap_transitions": "6",
        "flap_window": "1800",
        "baseline": "",
    }
    assert owner.post(address("threshold", "add"), form).status_code == 302
    threshold = Threshold.objects.get()
    assert (threshold.hold, str(threshold.service), threshold.created_by) == (5, "checkout", "olga")
    changed = owner.post(address("threshold", "change", threshold.pk), {**form, "error": "400"})
    assert changed.status_code == 302
    threshold.refresh_from_db()
    assert (threshold.error, threshold.version) == (400, 2)
    by_text = {**form, "condition": 'mean(latency_ms{service="checkout"}) > 500 for 2m'}
    assert owner.post(address("threshold", "change", threshold.pk), by_text).status_code == 302
    threshold.refresh_from_db()
    assert (threshold.aggregation, threshold.error, threshold.hold) == ("mean", 500, 120)
    page = owner.post(address("threshold", "add"), {**form, "critical": "3", "aggregation": "median"})
    assert page.status_code == 200
    text = page.content.decode()
    assert "must not be milder" in text
    assert "a percentile such as p95" in text


def test_what_a_deployment_made_is_shown_and_not_edited(owner: Client) -> None:
    threshold = watching.threshold(owner="deployment:42")
    page = owner.get(address("threshold", "change", threshold.pk))
    assert page.status_code == 200
    assert b'name="_save"' not in page.content
    assert "alone changes it" in press(owner, "threshold", threshold.pk, "remove", "x")
    assert Threshold.objects.get().active


def test_a_threshold_is_removed_with_a_reason(owner: Client) -> None:
    threshold = watching.threshold()
    assert "a reason is needed" in press(owner, "threshold", threshold.pk, "remove")
    assert "no longer judged" in press(owner, "threshold", threshold.pk, "remove", "not useful")
    assert not Threshold.objects.active().exists()
    assert owner.get(address("threshold", "change", threshold.pk)).status_code == 200


def test_an_incident_goes_its_way_by_buttons(owner: Client) -> None:
    answer = owner.post(address("incident", "add"), {"title": "Nobody can pay", "severity": "SEV3", "description": ""})
    assert answer.status_code == 302
    incident = the_incident()
    for name, status in (
        ("acknowledge", "acknowledged"),
        ("escalate", "acknowledged"),
        ("note", "acknowledged"),
        ("mitigate", "mitigated"),
        ("resolve", "resolved"),
        ("close", "closed"),
    ):
        if name == "close":
            press(owner, "postmortem", PostMortem.objects.get().pk, "waive", "a drill")
        press(owner, "incident", incident.pk, name, "because it is so")
        incident.refresh_from_db()
        assert incident.status == status
    page = owner.get(address("incident", "change", incident.pk)).content.decode()
    assert "because it is so" in page
    assert "olga" in page
    assert not re.search(r"formaction|/press/(acknowledge|resolve)/", page)


def test_a_refusal_is_a_message(owner: Client) -> None:
    incident = incidents.open_by_hand("x", by=BY)
    assert "cannot become closed" in press(owner, "incident", incident.pk, "close", "x")


def test_buttons_are_pressed_not_followed(owner: Client) -> None:
    incident = incidents.open_by_hand("x", by=BY)
    assert owner.get(address("incident", "press", incident.pk, "acknowledge")).status_code == 405
    assert the_incident().status == "triggered"


def test_a_viewer_sees_and_does_nothing(db: None) -> None:
    client = Client()
    client.force_login(make.person("vera", "viewer", is_staff=True))
    incident = incidents.open_by_hand("x", by=BY)
    assert client.get(address("incident", "change", incident.pk)).status_code == 200
    assert "may not operate" in press(client, "incident", incident.pk, "acknowledge")
    for noun in ("channel", "outboxmessage"):
        assert client.get(address(noun, "changelist")).status_code == 403


def test_an_incident_elsewhere_is_not_seen(db: None) -> None:
    client = Client()
    client.force_login(make.person("eve", "operator", environment=make.environment("staging"), is_staff=True))
    incident = incidents.open_by_hand("Secret trouble", by=BY, environment=make.production())
    assert "Secret trouble" not in client.get(address("incident", "changelist")).content.decode()
    assert "Secret trouble" not in client.get(address("incident", "change", incident.pk), follow=True).content.decode()
    assert client.post(address("incident", "press", incident.pk, "acknowledge")).status_code == 404


def test_a_channels_secret_is_written_and_never_shown(owner: Client) -> None:
    form = {"name": "ops", "kind": "webhook", "config": '{"url": "https://example.com/"}', "active": "on"}
    assert owner.post(address("channel", "add"), {**form, "secret": "sesame"}).status_code == 302
    channel = Channel.objects.get()
    assert b"sesame" not in owner.get(address("channel", "change", channel.pk)).content
    owner.post(address("channel", "change", channel.pk), form)
    channel.refresh_from_db()
    assert channel.secret == "sesame"
    page = owner.post(address("channel", "add"), {**form, "name": "b", "config": '{"url": "file:///x"}'})
    assert "only http:// and https://" in page.content.decode()


def test_a_dead_letter_is_sent_again_by_a_button(owner: Client) -> None:
    channel = Channel.objects.create(name="ops", kind="webhook", config={})
    outbox.put(channel, "x", {}, dedupe_key="k")
    message = OutboxMessage.objects.get()
    assert "only a dead one" in press(owner, "outboxmessage", message.pk, "resend")
    OutboxMessage.objects.update(state="dead")
    assert "sent again" in press(owner, "outboxmessage", message.pk, "resend")
    assert OutboxMessage.objects.get().state == "pending"


def test_a_definition_is_made_and_changed_by_form(owner: Client) -> None:
    threshold = watching.threshold()
    form: dict[str, Any] = {
        "key": "grave",
        "name": "Grave",
        "active": "on",
        "rank": "1",
        "min_level": "critical",
        "matchers": "{}",
        "thresholds": [str(threshold.pk)],
        "group_by": "service,environment",
        "severity": "SEV1",
        "responses": "",
        "cool_down": "0",
        "channels": [],
        "runbook": "",
    }
    assert owner.post(address("incidentdefinition", "add"), form).status_code == 302
    definition = IncidentDefinition.objects.get(key="grave")
    assert (definition.group_by, list(definition.thresholds.all())) == (["service", "environment"], [threshold])
    changed = owner.post(address("incidentdefinition", "change", definition.pk), {**form, "responses": "teleport"})
    assert "must be one of" in changed.content.decode()


def test_a_response_that_was_refused_is_tried_anew_by_a_button(owner: Client) -> None:
    something_of_everything(0)
    run = ResponseRun.objects.get()
    assert run.status == "refused"
    press(owner, "responserun", run.pk, "retry", "look again")
    run.refresh_from_db()
    assert run.status == "pending"


def test_thresholds_removed_by_their_owner_are_still_listed(owner: Client) -> None:
    watching.threshold("old one", owner="deployment:42")
    thresholds.remove(owner="deployment:42", by=BY)
    assert "old one" in owner.get(address("threshold", "changelist")).content.decode()
