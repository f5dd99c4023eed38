"""What is learnt from an incident: drafted at its end, asked for in time, and needed before it is closed."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from monitoring.actions import action_items, incidents, postmortems
from monitoring.models import ActionItem, Incident, OutboxMessage, PostMortem, PostMortemVersion
from portal import jobs
from portal.errors import Forbidden, Invalid, Refused, Stale
from tests import make
from tests.make import BY
from tests.monitoring import watching
from tests.monitoring.doors import Caller
from tests.monitoring.watching import Clock

pytestmark = pytest.mark.django_db
WRITTEN = {"summary": "Cards were declined.", "root_cause": "A certificate had ended."}


def resolved(**fields: Any) -> Incident:
    incident = incidents.open_by_hand("cards are declined", by=BY, **fields)
    incidents.resolve(incident, by=BY)
    return Incident.objects.get(pk=incident.pk)


def later(post_mortem: PostMortem, **passed: float) -> int:
    """So much time passes; then the sweep comes by."""
    post_mortem.refresh_from_db()
    remind_at = post_mortem.remind_at - timedelta(**passed) if post_mortem.remind_at else None
    PostMortem.objects.update(due_at=post_mortem.due_at - timedelta(**passed), remind_at=remind_at)
    return postmortems.remind_due()


def test_it_is_due_48_hours_after_the_resolution_and_an_incident_that_hardly_anybody_noticed_owes_none() -> None:
    incident = resolved(severity="SEV2")
    assert incident.resolved_at is not None
    assert incident.post_mortem.due_at == incident.resolved_at + timedelta(hours=48)
    assert not PostMortem.objects.filter(incident=resolved(severity="SEV4")).exists()


def test_the_draft_says_what_is_on_record() -> None:
    clock, deeds = Clock(), watching.deeds()
    watching.threshold("latency", response="take_back", target="deployment:7")
    watching.threshold("errors", metric="errors_total")
    clock.look(1, 500)
    clock.look(100, 100)
    assert deeds.targets == ["deployment:7"]
    content = PostMortem.objects.get().content
    assert "Detected by the threshold latency" in content["monitoring_review"]
    assert "Silent meanwhile: errors." in content["monitoring_review"]
    assert "take_back of deployment:7: done" in content["response_review"]
    assert "checkout in staging" in content["impact"]
    assert "mitigated by take_back" in content["timeline"]
    assert (content["root_cause"], content["lessons"]) == ("", "")


def test_what_a_person_reported_says_that_no_threshold_fired() -> None:
    assert "no threshold fired" in resolved().post_mortem.content["monitoring_review"]


def test_an_incident_closes_only_when_it_is_published_or_waived_with_a_reason() -> None:
    incident = resolved()
    with pytest.raises(Refused, match="post-mortem is not done"):
        incidents.close(incident, by=BY)
    with pytest.raises(Refused, match="Root cause"):
        postmortems.publish(incident.post_mortem, by=BY)
    postmortems.edit(incident.post_mortem, WRITTEN, by=BY)
    postmortems.publish(incident.post_mortem, by=BY)
    incidents.close(incident, by=BY)
    other = resolved()
    with pytest.raises(Invalid, match="say why"):
        postmortems.waive(other.post_mortem, by=BY, because=" ")
    postmortems.waive(other.post_mortem, by=BY, because="a drill")
    incidents.close(other, by=BY)
    assert (incident.status, other.status) == ("closed", "closed")


def test_every_version_is_kept_and_none_can_be_rewritten() -> None:
    found = resolved().post_mortem
    for text in ("first", "second", "second"):
        found = postmortems.edit(found, {"root_cause": text}, by=BY)
    assert [one.content["root_cause"] for one in found.versions.all()] == ["second", "first"]
    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
        PostMortemVersion.objects.update(author="nobody")
    with pytest.raises(Stale, match="version 2"):
        postmortems.edit(found, {"lessons": "x"}, by=BY, expected_version=1)


@pytest.mark.parametrize(
    ("content", "field"), [({"blame": "x"}, "blame"), ({"summary": 7}, "summary"), ({"lessons": "a\0b"}, "lessons")]
)
def test_a_fault_names_its_section(content: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as refusal:
        postmortems.edit(resolved().post_mortem, content, by=BY)
    assert set(refusal.value.errors) == {field}


def test_it_is_asked_for_a_day_before_when_it_is_due_and_each_day_that_it_is_late() -> None:
    dana = make.person("dana", "operator", email="dana@example.com")
    incident = incidents.open_by_hand("cards are declined", by=BY)
    incidents.assign(incident, "commander", dana, by=dana)
    incidents.resolve(incident, by=BY)
    found = incident.post_mortem
    assert postmortems.remind_due() == 0
    assert later(found, hours=25) == 1
    assert postmortems.remind_due() == 0
    assert later(found, hours=24) == 1
    # After an outage of many days it is asked for once.
    assert later(found, hours=240) == 1
    assert postmortems.remind_due() == 0
    asked = incident.timeline.filter(kind="postmortem.reminded").values_list("text", flat=True)
    assert ["overdue" in text for text in asked] == [False, True, True]
    assert OutboxMessage.objects.filter(kind="incident.postmortem_due").count() == 3
    postmortems.waive(found, by=BY, because="a drill")
    found.refresh_from_db()
    assert found.remind_at is None


def test_an_action_item_is_given_told_done_and_dropped_with_a_reason() -> None:
    incident = resolved()
    dana = make.person("dana", email="dana@example.com")
    item = action_items.add(incident, {"title": " watch certificates ", "owner": dana}, by=BY)
    assert item.title == "watch certificates"
    assert OutboxMessage.objects.get().kind == "action_item.assigned"
    action_items.end(item, "done", by=dana)
    action_items.end(item, "open", by=BY)
    with pytest.raises(Invalid, match="say why"):
        action_items.end(item, "dropped", by=BY)
    with pytest.raises(Forbidden):
        action_items.end(item, "done", by=make.person("vera", "viewer"))
    action_items.end(item, "dropped", by=BY, because="the provider does it")
    assert ActionItem.objects.get().status == "dropped"
    assert "action_item.dropped" in incident.timeline.values_list("kind", flat=True)


def test_by_rest_an_older_text_is_412_and_another_place_404() -> None:
    call, incident = Caller("write"), resolved(environment=make.production())
    path = f"incidents/{incident.pk}/post-mortem/"
    assert call("PATCH", path, {"content": WRITTEN, "expected_version": 0})[0] == 200
    assert call("PATCH", path, {"content": {"lessons": "x"}, "expected_version": 0})[0] == 412
    status, item = call.post("action-items/", {"incident": incident.pk, "title": "x", "due_on": "2030-01-01"})
    assert (status, item["status"]) == (201, "open")
    elsewhere = Caller("write", environments=[make.environment("staging")])
    assert elsewhere("GET", path)[0] == 404
    assert elsewhere.post("action-items/", {"incident": incident.pk, "title": "x"})[0] == 404
    assert elsewhere.get("action-items/")["count"] == 0
    assert call.post(f"{path}publish/")[0] == 200
    assert jobs.database_now() >= PostMortem.objects.get().published_at  # type: ignore[operator]
