"""The pages of incidents: who does what about them, and what happened when."""

import pytest
from django.test import Client
from django.urls import reverse

from monitoring.actions import incidents, postmortems
from monitoring.models import Incident
from tests import make
from tests.make import BY
from tests.monitoring import watching
from tests.monitoring.watching import Clock
from tests.pages import seats

pytestmark = pytest.mark.django_db


def _opened(title: str = "cards are declined", **fields: object) -> Incident:
    return incidents.open_by_hand(
        title,
        by=BY,
        service=make.service(),
        environment=make.environment(),
        **fields,  # type: ignore[arg-type]
    )


def _press(client: Client, incident: Incident, verb: str, because: str = "") -> str:
    address = reverse("incident-press", args=[incident.pk, verb])
    page = f"http://testserver{reverse('incident', args=[incident.pk])}"
    answer = client.post(address, {"because": because}, headers={"Referer": page}, follow=True)
    incident.refresh_from_db()
    return answer.content.decode()


def test_an_incident_is_carried_through_to_its_end_from_its_page() -> None:
    olu = seats.seat(make.person("olu", "operator"))
    incident = _opened()
    assert "is acknowledged" in _press(olu, incident, "acknowledge")
    assert incident.acknowledged_by == "olu"
    assert "is escalated" in _press(olu, incident, "escalate", "more countries")
    assert incident.severity == "SEV2"
    assert "Noted" in _press(olu, incident, "note", "the provider answers 502")
    assert "is mitigated" in _press(olu, incident, "mitigate")
    assert "is resolved" in _press(olu, incident, "resolve", "provider is back")
    assert "its post-mortem is not done" in _press(olu, incident, "close")
    postmortems.waive(incident.post_mortem, by=BY, because="a drill")
    shown = _press(olu, incident, "close")
    assert incident.status == "closed"
    for words in ("the provider answers 502", "more countries", "provider is back", "closed by olu"):
        assert words in shown


def test_what_can_be_done_no_more_is_refused_in_words() -> None:
    olu = seats.seat(make.person("olu", "operator"))
    incident = _opened()
    _press(olu, incident, "resolve", "over")
    assert "there is nothing to escalate" in _press(olu, incident, "escalate")
    assert "say what is worth remembering" in _press(olu, incident, "note")
    assert olu.post(reverse("incident-press", args=[incident.pk, "explode"])).status_code == 404


def test_an_alert_stands_there_with_its_value_and_bound() -> None:
    clock = Clock()
    watching.threshold("latency")
    clock.look(1, 200, 500)
    incident = Incident.objects.get()
    shown = seats.captain().get(reverse("incident", args=[incident.pk])).content.decode()
    assert 'class="num">350</td>' in shown
    assert "&gt; 300" in shown
    assert "latency 350 &gt; 300 over the last 1 min (n=2)" in shown


def test_the_target_leads_to_its_page() -> None:
    run = make.progressing()
    incident = _opened()
    Incident.objects.update(target=f"deployment:{run.pk}")
    shown = seats.captain().get(reverse("incident", args=[incident.pk])).content.decode()
    assert f'<a href="{reverse("deployment", args=[run.pk])}">deployment:{run.pk}</a>' in shown
    Incident.objects.update(target="service:checkout@staging")
    assert (
        "service:checkout@staging"
        in seats.seat(make.person("vic", "viewer")).get(reverse("incident", args=[incident.pk])).content.decode()
    )


def test_what_people_write_is_text_and_nothing_else() -> None:
    incident = _opened("<b>bold</b>")
    incidents.note(incident, "<script>alert(1)</script>", by=BY)
    shown = seats.captain().get(reverse("incident", args=[incident.pk])).content.decode()
    assert "&lt;b&gt;bold" in shown
    assert "&lt;script&gt;alert(1)" in shown
    assert "<script>alert" not in shown


def test_the_list_keeps_its_filters_in_the_address() -> None:
    captain = seats.captain()
    bad = _opened("bad", severity="SEV1")
    over = _opened("over")
    taken = _opened("taken")
    incidents.resolve(over, by=BY)
    incidents.acknowledge(taken, by=BY)

    def listed(query: str) -> set[str]:
        shown = captain.get(f"{reverse('incidents')}?{query}").content.decode()
        return {one.title for one in (bad, over, taken) if f">{one.title}</a>" in shown}

    assert listed("") == {"bad", "taken"}
    assert listed("show=unacknowledged") == {"bad"}
    assert listed("show=ended") == {"over"}
    assert listed("show=all") == {"bad", "over", "taken"}
    assert listed("severity=SEV1") == {"bad"}
    assert listed("show=all&severity=nonsense&environment=staging&service=checkout") == {"bad", "over", "taken"}
    assert listed("environment=lab") == set()


def test_roles_and_severity_are_given_on_its_page_with_a_reason() -> None:
    dana = make.person("dana", "operator")
    client, incident = seats.seat(dana), _opened(severity="SEV3")
    address = reverse("incident-press", args=[incident.pk, "assign"])
    shown = client.post(address, {"role": "commander", "person": "dana"}, follow=True).content.decode()
    assert "Commander: dana." in shown
    assert "dana (you)" in shown
    assert client.post(address, {"role": "king", "person": "dana"}).status_code == 400
    assert client.post(address, {"role": "scribe", "person": "nobody-here"}).status_code == 400
    severity = reverse("incident-press", args=[incident.pk, "severity"])
    assert client.post(severity, {"severity": "SEV1"}).status_code == 400
    client.post(severity, {"severity": "SEV1", "because": "everybody is hit"})
    incident.refresh_from_db()
    assert (incident.severity, incident.commander) == ("SEV1", dana)


def test_while_an_alert_fires_the_page_asks_for_a_reason_to_resolve() -> None:
    watching.threshold()
    Clock().look(1, 500)
    incident, captain = Incident.objects.get(), seats.captain()
    shown = captain.get(reverse("incident", args=[incident.pk])).content.decode()
    assert "Resolve all the same" in shown
    assert "still fires" in _press(captain, incident, "resolve", "done")
    assert incident.status == "triggered"
    _press(captain, incident, "resolve-despite", "the sensor is broken")
    assert incident.status == "resolved"


def test_the_figures_are_shown_by_service() -> None:
    incident = _opened()
    incidents.acknowledge(incident, by=BY)
    shown = seats.captain().get(reverse("incident-figures")).content.decode()
    assert "MTTA" in shown
    assert ">checkout</strong>" in shown


def test_a_fetched_part_is_the_part_and_no_whole_page() -> None:
    incident = _opened()
    captain = seats.captain()
    for name in ("state", "timeline"):
        shown = captain.get(reverse("incident-part", args=[incident.pk, name])).content.decode()
        assert f'id="{name}"' in shown
        assert "<html" not in shown
    assert captain.get(reverse("incident-part", args=[incident.pk, "nonsense"])).status_code == 404
