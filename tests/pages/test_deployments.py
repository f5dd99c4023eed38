"""The pages of deployments and releases, and the buttons on them."""

import pytest
from django.test import Client
from django.urls import reverse

from monitoring.actions import incidents
from portal import audit, jobs
from rollouts.actions import deployments, plans
from rollouts.models import Deployment
from rollouts.models.deployments import Status
from tests import make
from tests.make import BY
from tests.pages import seats

pytestmark = pytest.mark.django_db


def _press(client: Client, run: Deployment, verb: str, because: str = "") -> str:
    answer = client.post(
        reverse("deployment-press", args=[run.pk, verb]),
        {"because": because},
        headers={"Referer": f"http://testserver{reverse('deployment', args=[run.pk])}"},
        follow=True,
    )
    run.refresh_from_db()
    return answer.content.decode()


def test_a_run_is_driven_from_its_page_and_every_press_is_on_record() -> None:
    captain = seats.captain()
    run = make.deployment(stages=[5, 50, 100])
    assert "is started" in _press(captain, run, "start")
    assert (run.status, run.weight) == (Status.PROGRESSING, 5_000)
    assert "is advanced" in _press(captain, run, "advance")
    assert run.weight == 50_000
    assert "is paused" in _press(captain, run, "pause", "a look at the logs")
    assert "is resumed" in _press(captain, run, "resume")
    assert "is rolled back" in _press(captain, run, "roll_back", "payments fail")
    assert (run.status, run.weight) == (Status.ROLLED_BACK, 0)
    assert "is a draft again" in _press(captain, run, "retry")
    assert "is cancelled" in _press(captain, run, "cancel", "another time")
    shown = captain.get(reverse("deployment", args=[run.pk])).content.decode()
    for words in ("payments fail", "a look at the logs", "by Dana", "Rolled back", "another time"):
        assert words in shown


def test_what_a_rule_forbids_comes_back_as_a_message_in_its_words() -> None:
    captain = seats.captain()
    run = make.progressing(stages=[5, 100], dwell=600)
    assert "cannot advance: dwell" in _press(captain, run, "advance")
    assert "because: a reason is needed" in _press(captain, run, "roll_back")
    assert run.status == Status.PROGRESSING


def test_without_the_role_a_press_changes_nothing() -> None:
    run = make.progressing()
    assert "may not operate" in _press(seats.seat(make.person("vic", "viewer")), run, "roll_back", "I can")
    assert run.status == Status.PROGRESSING


def test_a_verb_that_nobody_knows_is_not_found() -> None:
    run = make.progressing()
    assert seats.captain().post(reverse("deployment-press", args=[run.pk, "explode"])).status_code == 404


@pytest.mark.parametrize("because", ["\0", "x" * 10_001], ids=["NUL", "endless"])
def test_a_reason_that_no_database_keeps_is_refused_by_name(because: str) -> None:
    run = make.progressing()
    answer = seats.captain().post(reverse("deployment-press", args=[run.pk, "roll_back"]), {"because": because})
    assert answer.status_code == 400
    assert "because:" in answer.content.decode()


def test_an_odd_address_is_not_found_and_an_odd_filter_finds_nothing() -> None:
    captain = seats.captain()
    make.progressing()
    assert captain.get(f"/deployments/{2**70}/").status_code == 404
    for query in ("show=nonsense", "page=-1", "page=x", "service=none", "show=all&environment=lab"):
        assert captain.get(f"{reverse('deployments')}?{query}").status_code == 200, query
    for address in ("/deployments/?environment=%00", "/flags/?q=%00", "/incidents/?service=%00", "/?x=%00"):
        assert captain.get(address).status_code == 400, address
    assert captain.get("/flags/%00/").status_code == 404


def test_after_a_press_one_is_sent_to_no_other_host() -> None:
    run = make.progressing()
    address = reverse("deployment-press", args=[run.pk, "pause"])
    for back in ("https://example.com/", "//example.com/", "\\\\example.com", "javascript:alert(1)"):
        answer = seats.seat(make.person("", "captain")).post(address, {"because": "so", "back": back})
        assert answer["Location"] == reverse("deployment", args=[run.pk]), back


def test_a_no_go_says_why_and_rejects() -> None:
    run = make.deployment(environment=make.production())
    deployments.start(run, by=BY)
    ines = seats.seat(make.person("ines", "approver"))
    page = reverse("deployment", args=[run.pk])
    assert "Your vote on plan" in ines.get(page).content.decode()
    vote = {"rule": "four_eyes", "value": "no_go", "comment": "no runbook", "plan_hash": run.plan_hash}
    shown = ines.post(reverse("deployment-vote", args=[run.pk]), vote, follow=True).content.decode()
    assert "ines voted no-go: no runbook" in shown
    assert Deployment.objects.get().status == Status.REJECTED


def test_a_vote_on_a_plan_that_has_changed_meanwhile_does_not_count() -> None:
    run = make.deployment(environment=make.production())
    deployments.start(run, by=BY)
    seen = run.plan_hash
    plans.write(run.plan.name, {"stages": [{"name": "all at once", "weight": 100, "dwell": 0, "gates": []}]}, by=BY)
    ines = seats.seat(make.person("ines", "approver"))
    vote = {"rule": "four_eyes", "value": "go", "plan_hash": seen}
    answer = ines.post(reverse("deployment-vote", args=[run.pk]), vote)
    assert answer.status_code == 412
    assert Deployment.objects.get().status == Status.AWAITING_APPROVAL


def test_the_page_shows_gates_guardrails_and_incidents_of_the_run() -> None:
    guard = {
        "kind": "threshold",
        "name": "p95",
        "metric": "latency",
        "aggregation": "p95",
        "operator": ">",
        "error": 0.5,
    }
    gate = {"kind": "soak", "seconds": 900}
    run = make.progressing(stages=[5, 100], dwell=10, gates=[gate], guardrails=[guard])
    assert run.entered_stage_at is not None
    deployments.reconcile(run, now=run.entered_stage_at)
    incident = incidents.open_by_hand("slow", by=BY, service=run.service, environment=run.environment)
    type(incident).objects.update(target=f"deployment:{run.pk}")
    shown = seats.captain().get(reverse("deployment", args=[run.pk])).content.decode()
    assert "served for 0 s of 900 s" in shown
    assert "&gt; 0.5" in shown
    assert reverse("incident", args=[incident.pk]) in shown


def test_a_fetched_part_is_the_part_and_no_whole_page() -> None:
    run = make.progressing()
    captain = seats.captain()
    for name in ("state", "evidence", "timeline"):
        shown = captain.get(reverse("deployment-part", args=[run.pk, name])).content.decode()
        assert f'id="{name}"' in shown
        assert "<html" not in shown
    assert captain.get(reverse("deployment-part", args=[run.pk, "nonsense"])).status_code == 404


def test_the_chart_shows_both_arms_as_the_guardrail_sees_them_with_its_bound_and_the_stages() -> None:
    flag = make.flag("fast", on_in=[make.environment()])
    arm = {"service": "checkout", "flag": "fast", "variant": "on"}
    guard = {
        "kind": "threshold",
        "name": "error rate",
        "metric": "errors_total",
        "denominator": "requests_total",
        "matchers": arm,
        "aggregation": "increase",
        "operator": ">",
        "error": 0.05,
        "window": 60,
    }
    run = make.progressing(stages=[5, 100], dwell=600, flags=[flag], guardrails=[guard])
    for variant, errors in (("on", 10.0), ("off", 1.0)):
        place = {"environment": "staging", "service": "checkout", "flag": "fast", "variant": variant}
        make.measured("errors_total", 0.0, errors, ago=10, every=20, **place)
        make.measured("requests_total", 0.0, 100.0, ago=10, every=20, **place)
    frame = seats.captain().get(reverse("deployment-frame", args=[run.pk])).json()
    assert frame["topic"] == f"chart:deployment:{run.pk}"
    (panel,) = frame["panels"]
    assert (panel["title"], panel["unit"], panel["bound"], panel["operator"]) == ("error rate", "%", 5.0, ">")
    assert panel["lines"] == ["canary", "baseline"]
    newest = {name.partition(":")[2]: points[-1][1] for name, points in frame["series"].items()}
    assert newest == {"canary": 10.0, "baseline": 1.0}
    assert all(points[0][1] is None for points in frame["series"].values()), "no data is a hole, no zero"
    assert [marker["label"] for marker in frame["markers"]] == ["5 %"]


def test_a_deployment_without_measurements_has_an_empty_chart() -> None:
    run = make.progressing()
    frame = seats.captain().get(reverse("deployment-frame", args=[run.pk])).json()
    assert (frame["panels"], frame["series"]) == ([], {})


def test_the_list_keeps_its_filters_in_the_address() -> None:
    captain = seats.captain()
    live = make.progressing(release=make.release("1.live"))
    draft = make.deployment(release=make.release("1.draft"), environment=make.environment("lab"))

    def listed(query: str) -> list[str]:
        shown = captain.get(f"{reverse('deployments')}?{query}").content.decode()
        return [str(run.release) for run in (live, draft) if f">{run.release}</a>" in shown]

    assert listed("") == ["checkout@1.live"]
    assert listed("show=waiting") == ["checkout@1.draft"]
    assert listed("show=all") == ["checkout@1.live", "checkout@1.draft"]
    assert listed("show=all&environment=lab") == ["checkout@1.draft"]
    assert listed("show=ended") == []


def test_a_release_shows_where_it_has_been_taken() -> None:
    release = make.release("2.0", notes="faster\nand calmer", captain="")
    run = make.progressing(release=release)
    shown = seats.captain().get(reverse("release", args=[release.pk])).content.decode()
    assert "faster<br>and calmer" in shown
    assert reverse("deployment", args=[run.pk]) in shown
    assert audit.of(release).get().actor in shown


def test_the_watch_of_a_finished_run_is_counted_down() -> None:
    run = make.progressing(stages=[100], watch=900)
    make.reconciled(run)
    shown = seats.captain().get(reverse("deployment", args=[run.pk])).content.decode()
    assert "can still be rolled back" in shown
    assert "watched for" in shown
    assert run.watch_until is not None
    assert run.watch_until > jobs.database_now()
