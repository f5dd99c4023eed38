"""Every write is in the log, and from the log alone everything is rebuilt as it was at any time."""

import random
from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from portal import audit
from portal.errors import Invalid, Refused
from portal.models import Environment
from rollouts.actions import flags, segments
from rollouts.engine.revisions import rebuilt
from rollouts.models import Flag, FlagConfig, FlagRevision, Segment, SegmentRevision
from rollouts.queries import history
from tests import make
from tests.rollouts.changes.calling import Caller, named

pytestmark = pytest.mark.django_db
BY = make.BY


@pytest.fixture
def key() -> Caller:
    return Caller(make.key("write"))


def _random_edit(chance: random.Random) -> dict[str, Any]:
    serve = chance.choice([{"variant": "on", "rollout": chance.randint(0, 100)}, {"split": {"on": 1, "off": 3}}])
    country = {"attr": "country", "op": "in", "values": [chance.choice(["PL", "DE", 1, True])]}
    return chance.choice(
        [
            {"fallthrough": serve},
            {"rules": [{"all": [country], "serve": serve}] * chance.randint(0, 3)},
            {"overrides": {"on": [f"u{chance.randint(1, 9)}"]}},
            {"window": chance.choice([None, {"from": "2026-01-01T00:00:00Z", "until": None}])},
            {"enabled": chance.choice([True, False])},
        ]
    )


def test_every_state_of_a_flag_is_rebuilt_from_the_diffs_alone() -> None:
    """Writes of every kind, and after each of them what was there; the log gives back every one of these states."""
    chance = random.Random(7)
    place = make.environment()
    flag = make.flag("lamp")
    states: list[tuple[int, dict[str, Any]]] = []

    def now() -> None:
        config = FlagConfig.objects.get(flag=flag, environment=place)
        if not states or config.revision != states[-1][0]:
            states.append((config.revision, {**config.document(), "reserved": config.reserved}))

    serving: dict[str, Any] = {"deployment": 7, "by": BY, "because": "stage"}
    flags.configure(flag, place, {"enabled": True, "fallthrough": {"variant": "off"}}, by=BY)
    now()
    for weight in (5000, 50_000):
        flags.serve(flag, place, variant="on", baseline="off", weight=weight, **serving)
        now()
    flags.kill(flag, place, by=BY)
    now()
    flags.release(flag, place, **serving)
    now()
    for _ in range(60):
        flags.configure(flag, place, _random_edit(chance), by=BY)
        now()
        if chance.random() < 0.2:
            flags.restore(flag, place, chance.choice(states)[0], by=BY)
            now()
    assert len(states) > 40
    log = list(
        FlagRevision.objects.filter(flag=flag, environment=place).order_by("number").values_list("number", "diff")
    )
    assert [number for number, _ in log] == [number for number, _ in states] == list(range(1, len(log) + 1))
    for number, state in states:
        again = rebuilt(diff for other, diff in log if other <= number)
        assert {**dict.fromkeys(state), **again} == state, number


def test_an_edit_from_1_to_true_is_an_edit() -> None:
    place, flag = make.environment(), make.flag("lamp")
    for value in (1, True):
        rule = {"all": [{"attr": "vip", "op": "equals", "values": [value]}], "serve": {"variant": "on"}}
        flags.configure(flag, place, {"rules": [rule]}, by=BY)
    config = FlagConfig.objects.get()
    assert (config.revision, config.rules[0]["all"][0]["values"]) == (2, [True])


def test_writes_are_counted_and_what_writes_nothing_is_not() -> None:
    place, flag = make.environment(), make.flag("lamp")
    document = {"fallthrough": {"variant": "on"}}
    for _ in range(3):
        flags.configure(flag, place, document, by=BY)
    for wrong in ({"fallthrough": {"variant": "x"}}, {"rules": 3}):
        with pytest.raises(Invalid):
            flags.configure(flag, place, wrong, by=BY)
    flags.change(flag, {"owner": "dana"}, by=BY)
    flags.change(flag, {"owner": "dana"}, by=BY)
    assert FlagRevision.objects.filter(flag=flag, environment=place).count() == 1
    assert FlagRevision.objects.filter(flag=flag, environment=None).count() == 2


def _later(moment: Any) -> str:
    return str((moment + timedelta(microseconds=1)).isoformat())


def test_a_config_is_shown_as_it_was(key: Caller) -> None:
    place, flag = make.environment("staging"), make.flag("lamp")
    before = FlagRevision.objects.get().at
    for share in (10, 20, 30):
        flags.configure(flag, place, {"enabled": True, "fallthrough": {"variant": "on", "rollout": share}}, by=BY)
    times = list(FlagRevision.objects.exclude(environment=None).order_by("number").values_list("at", flat=True))
    at = "flags/lamp/environments/staging/?at="
    for number, moment in enumerate(times, 1):
        was = key("GET", f"{at}{moment.isoformat()}").json()
        assert (was["revision"], was["fallthrough"]["rollout"]) == (number, 10 * number)
    assert key("GET", f"{at}{timezone.now().isoformat()}").json()["revision"] == 3
    new = key("GET", f"{at}{_later(before)}").json()
    assert (new["revision"], new["enabled"], new["off_variant"], new["updated_at"]) == (0, False, "off", None)
    assert key("GET", f"{at}2001-01-01T00:00:00Z").status_code == 404, "there was no such flag"
    for wrong in ("yesterday", "2026-01-01T00:00:00", "", "0000-00-00T00:00:00Z"):
        assert named(key("GET", f"{at}{wrong}")) == {"at"}


def test_a_definition_is_shown_as_it_was_and_restored(key: Caller) -> None:
    shop = make.service("shop")
    flag = make.flag("lamp")
    flags.change(flag, {"owner": "dana", "service": shop, "tags": ["pay"], "risk": "high"}, by=BY)
    flags.change(flag, {"owner": "sam", "service": None, "tags": []}, by=BY)
    flags.archive(flag, by=BY)
    two = FlagRevision.objects.get(number=2).at
    was = key("GET", f"flags/lamp/?at={two.isoformat()}").json()
    assert (was["owner"], was["service"], was["tags"], was["archived"], was["revision"]) == (
        "dana", "shop", ["pay"], False, 2,
    )  # fmt: skip
    assert key("GET", f"flags/lamp/?at={timezone.now().isoformat()}").json()["archived"] is True
    assert key("POST", "flags/lamp/restore/", {"revision": 2}).status_code == 409, "it is archived"
    flags.unarchive(flag, by=BY)
    assert key("POST", "flags/lamp/restore/", {"revision": 2}, If_Match='"1"').status_code == 412
    restored = key("POST", "flags/lamp/restore/", {"revision": 2, "because": "as before"}).json()
    assert (restored["owner"], restored["service"], restored["revision"]) == ("dana", "shop", 6)
    assert named(key("POST", "flags/lamp/restore/", {"revision": 99})) == {"revision"}
    said = list(audit.of(flag).order_by("id").values_list("verb", flat=True))
    assert said == [
        "flag.created", "flag.changed", "flag.changed", "flag.archived", "flag.unarchived", "flag.definition_restored",
    ]  # fmt: skip


def test_a_segments_life_is_logged_shown_and_restored(key: Caller) -> None:
    segment = segments.create("staff", by=BY, included=["u1"], because="begin")
    segments.change(segment, {"included": ["u1", "u2"]}, by=BY)
    segments.change(segment, {"included": ["u1", "u2"]}, by=BY)
    assert key("DELETE", "segments/staff/").status_code == 204
    rows = key("GET", "segments/staff/revisions/").json()["results"]
    assert [(row["revision"], row["document"] is None) for row in rows] == [(3, True), (2, False), (1, False)]
    assert rows[1]["diff"] == {"included": [["u1"], ["u1", "u2"]]}
    times = list(SegmentRevision.objects.order_by("number").values_list("at", flat=True))
    assert key("GET", f"segments/staff/?at={times[0].isoformat()}").json()["included"] == ["u1"]
    assert key("GET", f"segments/staff/?at={times[1].isoformat()}").json()["included"] == ["u1", "u2"]
    assert key("GET", f"segments/staff/?at={times[2].isoformat()}").status_code == 404
    back = key("POST", "segments/staff/restore/", {"revision": 1})
    assert (back.status_code, back.json()["included"], back.json()["revision"]) == (200, ["u1"], 4)
    assert named(key("POST", "segments/staff/restore/", {"revision": 3})) == {"revision"}
    assert key("GET", "segments/nobody/revisions/").status_code == 404
    diffs = SegmentRevision.objects.order_by("number").values_list("diff", flat=True)
    assert rebuilt(diffs) == Segment.objects.get().document()


def test_what_no_longer_fits_is_not_restored() -> None:
    inner = segments.create("inner", by=BY, included=["u1"])
    outer = segments.create("outer", by=BY, conditions=[{"op": "segment", "values": ["inner"]}])
    segments.change(outer, {"conditions": []}, by=BY)
    segments.delete(inner, by=BY)
    with pytest.raises(Refused, match="no longer fits: .*there is no segment inner"):
        segments.restore("outer", 1, by=BY)


def test_a_segments_revision_is_never_changed() -> None:
    segments.create("staff", by=BY)
    for sql in ("UPDATE rollouts_segmentrevision SET actor = 'me'", "DELETE FROM rollouts_segmentrevision"):
        with pytest.raises(DatabaseError, match="never changed"), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(sql)


def test_a_deployments_rule_is_part_of_what_was(key: Caller) -> None:
    place: Environment = make.environment("staging")
    flag: Flag = make.flag("lamp", on_in=[place])
    flags.serve(flag, place, deployment=7, variant="on", baseline="off", weight=5000, by=BY, because="canary")
    moment = FlagRevision.objects.latest("id").at
    flags.release(flag, place, deployment=7, by=BY, because="over", promote=True)
    was = key("GET", f"flags/lamp/environments/staging/?at={moment.isoformat()}").json()
    assert [(rule["deployment"], rule["serve"]["rollout"]) for rule in was["rules"]] == [(7, 5)]
    state = history.config_at(flag, place, timezone.now())
    assert state is not None
    assert state.document["reserved"] == []
