"""Conditions of several thresholds: judged from where their members stand, and by nothing that is not known."""

from typing import Any

import pytest

from monitoring.actions import judging, specs, thresholds
from monitoring.judging import Condition, Level, Measurement, Member, Sight, judge
from monitoring.models import Alert, Threshold
from portal.errors import Forbidden, Invalid
from tests import make
from tests.monitoring import watching
from tests.monitoring.doors import Caller, fields
from tests.monitoring.watching import BY, Clock

JUDGED = [
    ("yy", 2, Sight.BREACH), ("yn", 2, Sight.CLEAR), ("y?", 2, Sight.UNCLEAR), ("n?", 2, Sight.CLEAR),
    ("??", 2, Sight.UNCLEAR), ("y?", 1, Sight.BREACH), ("n?", 1, Sight.UNCLEAR), ("nn", 1, Sight.CLEAR),
    ("yyn", 2, Sight.BREACH), ("yn?", 2, Sight.UNCLEAR), ("", 1, Sight.NO_DATA),
]  # fmt: skip


@pytest.mark.parametrize(("members", "need", "sight"), JUDGED)
def test_so_many_of_them_with_no_vacuous_pass(members: str, need: int, sight: Sight) -> None:
    known = {"y": True, "n": False, "?": None}
    asked = Condition("both", ">=", {Level.ERROR: float(need)})
    made = tuple(Member(f"t{place}", known[one]) for place, one in enumerate(members))
    reading = judge(asked, Measurement(None, members=made))
    assert reading.sight is sight
    assert reading.verdict.reason.startswith("both: ")


def _combined(condition: str = "all(error rate, latency)", name: str = "both") -> Threshold:
    return thresholds.create({"name": name, "condition": condition}, by=BY)


@pytest.mark.django_db
class TestJudged:
    @pytest.fixture(autouse=True)
    def _members(self) -> None:
        self.clock = Clock()
        watching.threshold("latency", error=None, warning=300)
        watching.threshold("error rate", metric="errors", error=None, warning=5)

    def _look(self, second: float, latency: float | None, errors: float | None) -> None:
        if latency is not None:
            self.clock.send(second - 0.01, latency)
        if errors is not None:
            self.clock.send(second - 0.01, errors, metric="errors")
        self.clock.look(second)
        self.clock.look(second + 0.5)  # the members' news marks the combination; here it is looked at once more

    def test_it_fires_when_all_do_and_resolves_when_one_is_over(self) -> None:
        both = _combined()
        self._look(1, 500, 1)
        assert watching.state(both).phase == "inactive"
        self._look(62, 500, 50)
        alert = Alert.objects.get(threshold=both)
        assert (alert.status, alert.level, alert.value) == ("firing", "error", 2.0)
        assert (
            alert.reason == "both: 2 of 2 fire (latency, error rate), 2 are enough"
            or "error rate, latency" in alert.reason
        )
        assert alert.incident is not None
        assert alert.labels == watching.LABELS
        self._look(124, 500, 1)
        alert.refresh_from_db()
        assert alert.status == "resolved"

    def test_members_without_data_decide_nothing(self) -> None:
        both = _combined()
        self._look(1, 500, None)
        state = watching.state(both)
        assert (state.phase, state.outcome) == ("inactive", "inconclusive")
        assert "of 1 it is not known" in state.reason
        assert "no data" in state.reason

    def test_a_member_that_was_removed_is_unknown(self) -> None:
        both = _combined()
        thresholds.delete(Threshold.objects.get(name="error rate"), by=BY)
        self._look(1, 500, None)
        assert "error rate has been removed" in watching.state(both).reason

    def test_news_of_a_member_marks_its_combinations_due(self) -> None:
        both = _combined("any(error rate, latency)")
        self._look(1, 1, 1)
        Threshold.objects.filter(pk=both.pk).update(due_at=self.clock.at(9999))
        self._look_without(both, 62)
        assert watching.state(both).phase == "firing"

    def _look_without(self, both: Threshold, second: float) -> None:
        from_now = Threshold.objects.exclude(pk=both.pk)
        self.clock.send(second - 0.01, 900)
        from_now.update(due_at=self.clock.at(second))
        judging.run(now=self.clock.at(second))
        judging.run(now=self.clock.at(second + 1))


@pytest.mark.django_db
def test_by_rest_a_condition_is_a_threshold_and_shown_as_text() -> None:
    make.service("shop")
    call = Caller("write")
    text = 'p95(http_request_duration_seconds{service="shop"}) > 300ms for 5m'
    status, made = call.post("thresholds/", {"name": "slow", "condition": text})
    assert status == 201, made
    assert (made["aggregation"], made["error"], made["for"], made["matchers"]) == ("p95", 0.3, 300, {"service": "shop"})
    assert made["condition"] == 'p95(http_request_duration_seconds{service="shop"}) > 0.3 for 5m'
    status, put = call("PUT", f"thresholds/{made['id']}/", {**made, "response": None})
    assert (status, put["version"]) == (200, 1)
    status, patched = call("PATCH", f"thresholds/{made['id']}/", {"condition": "rate(e_total)/rate(r_total) > 5%"})
    assert (status, patched["denominator"], patched["error"], patched["for"], patched["matchers"]) == (
        200, "r_total", 0.05, 0, {},
    )  # fmt: skip


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"condition": "x >"}, "condition"),
        ({"condition": 7}, "condition"),
        ({"condition": "x > 5", "error": 6}, "error"),
        ({"condition": "x > 5", "metric": "y"}, "metric"),
        ({"condition": "all(one, two)"}, "combine.of[0]"),
        ({"condition": "all(one)"}, "combine.of"),
        ({"combine": []}, "combine"),
        ({"combine": {"of": [1, 10**15], "need": 3}}, "combine.need"),
        ({"combine": {"of": ["one", "one"], "colour": 1}}, "combine.colour"),
        ({"condition": "x > 3 vs offset(3d)"}, "baseline.seconds"),
    ],
)
def test_a_condition_that_makes_no_sense_names_its_field(spec: dict[str, Any], field: str) -> None:
    status, problem = Caller("write").post("thresholds/", {"name": "x", **spec})
    assert status == 400
    assert field in fields(problem)


@pytest.mark.django_db
def test_a_combination_is_read_back_changed_and_no_member_of_another() -> None:
    for name in ("a", "b", "c"):
        watching.threshold(name)
    call = Caller("write")
    made = call.post("thresholds/", {"name": "most", "condition": "2 of (a, b, c) critical"})[1]
    assert (made["metric"], made["combine"]["need"], made["combine"]["level"]) == (None, 2, "critical")
    assert made["matchers"] == watching.LABELS
    assert call("PUT", f"thresholds/{made['id']}/", made)[1]["version"] == 1
    changed = call("PATCH", f"thresholds/{made['id']}/", {"name": "many", "for": 60})[1]
    assert (changed["combine"], changed["for"]) == (made["combine"], 60)
    one = Threshold.objects.get(pk=made["id"])
    assert specs.text(one, specs.member_names([one])) == "2 of (a, b, c) critical for 1m"
    with pytest.raises(Invalid, match="combination itself"):
        thresholds.create({"name": "x", "condition": "any(many, a)"}, by=BY)
    plain = call("PATCH", f"thresholds/{made['id']}/", {"condition": "x > 3"})[1]
    assert (plain["metric"], plain["combine"]) == ("x", None)


@pytest.mark.django_db
def test_two_of_one_name_are_told_apart_by_number() -> None:
    first, second = watching.threshold("a"), watching.threshold("a")
    with pytest.raises(Invalid, match=f"#{first.pk}, #{second.pk}"):
        thresholds.create({"name": "x", "condition": "any(a, a)"}, by=BY)
    both = thresholds.create({"name": "x", "condition": f"any(#{first.pk}, #{second.pk})"}, by=BY)
    assert both.members == [first.pk, second.pk]


@pytest.mark.django_db
def test_who_may_not_see_a_member_learns_nothing_of_it() -> None:
    for name in ("a", "b"):
        watching.threshold(name)
    place, service = make.environment("lab"), make.service("experiments")
    eve = make.person("eve", "owner", environment=place, service=service)
    spec = {"name": "x", "condition": "any(a, b)", "matchers": {"environment": "lab", "service": "experiments"}}
    with pytest.raises((Invalid, Forbidden)):
        thresholds.create(spec, by=eve)
    assert not Threshold.objects.filter(name="x").exists()
