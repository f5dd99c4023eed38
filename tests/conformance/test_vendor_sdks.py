"""Nobody moves: for 10 000 random users, an imported rollout gives exactly what the vendor's own SDK gives.

The SDKs are the vendors', unmodified, in an environment of their own (requirements-vendors.txt: what they need cannot
be installed beside what the portal needs). LaunchDarkly's reads its flags from a file here, as it can.
"""

import json
import random
import subprocess
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from rollouts import snapshots
from rollouts.actions import configuration
from rollouts.engine.evaluate import evaluate
from rollouts.engine.types import Result
from rollouts.importers import formats
from rollouts.importers.options import Options
from tests import make
from tests.running import ROOT

pytestmark = pytest.mark.django_db
PYTHON = ROOT / ".venv" / "vendors" / "bin" / "python"
ANSWERS = Path(__file__).parent / "vendors" / "answers.py"
USERS = 10_000
COUNTRIES = ["DE", "PL", "FR", "NO"]
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789-_@. äß中🌍"


def users() -> list[dict[str, Any]]:
    """Ids of many kinds, and attributes that are there or not; the same ones in each run."""
    dice = random.Random(20_261_122)
    found = []
    for n in range(USERS):
        kinds = (
            f"user-{n}",
            str(n),
            f"{dice.getrandbits(128):032x}",
            f"{dice.choice('abcdef')}{n}@example.com",
            "".join(dice.choice(LETTERS) for _ in range(dice.randrange(1, 20))),
        )
        user: dict[str, Any] = {"id": dice.choice(kinds), "country": dice.choice(COUNTRIES)}
        if n % 3:
            user["session"] = f"s{dice.randrange(10**6)}"
        if n % 5:
            user["age"] = dice.randrange(10, 90)
        if n % 7:
            user["company"] = f"c{dice.randrange(500)}"
        if n % 2:
            prefix = "v" if n % 11 == 0 else ""
            user["version"] = f"{prefix}{dice.randrange(1, 4)}.{dice.randrange(12)}.{dice.randrange(5)}"
        found.append(user)
    return found


def asked(vendor: str, document: Any, flags: list[str], contexts: list[dict[str, Any]]) -> list[list[Any]]:
    if not PYTHON.exists():
        pytest.skip("the vendors' SDKs are not installed: make .venv/.vendors")
    question = json.dumps({"vendor": vendor, "document": document, "flags": flags, "contexts": contexts})
    done = subprocess.run([PYTHON, ANSWERS], input=question, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found: list[list[Any]] = json.loads(done.stdout)
    return found


def ours(format_: str, document: Any, flags: list[str], contexts: list[dict[str, Any]]) -> list[list[Result]]:
    """The document imported, and its flags decided by the portal."""
    place = make.environment("production")
    wanted = formats.translate(format_, document, Options(environment=place.key))
    configuration.apply(wanted, by=make.BY)
    assert {flag.key for flag in wanted.flags} >= set(flags)
    shots = {flag: snapshots.fresh(place, flag) for flag in flags}
    now = time.time()
    return [[evaluate(shots[flag], flag, context, now=now) for flag in flags] for context in contexts]


def both(
    vendor: str, document: Any, flags: list[str], theirs: list[dict[str, Any]], contexts: list[dict[str, Any]]
) -> tuple[list[list[Any]], list[list[Result]]]:
    """The vendor's answers and ours, found at the same time: the vendor's take the longer."""
    with ThreadPoolExecutor(1) as aside:
        answers = aside.submit(asked, vendor, document, flags, theirs)
        results = ours(vendor, document, flags, contexts)
    is_told_apart(answers.result(), flags)
    return answers.result(), results


def differences(
    flags: list[str], theirs: list[list[Any]], mine: list[list[Any]], contexts: list[dict[str, Any]]
) -> list[str]:
    assert len(theirs) == len(mine) == USERS
    return [
        f"{flag} for {context}: {one} there, {other} here"
        for context, row, own in zip(contexts, theirs, mine, strict=True)
        for flag, one, other in zip(flags, row, own, strict=True)
        if one != other
    ]


def is_told_apart(rows: list[list[Any]], flags: list[str]) -> None:
    """A flag that gives everyone the same would prove nothing."""
    for n, flag in enumerate(flags):
        assert len({json.dumps(row[n]) for row in rows}) > 1, flag


# --- Unleash ------------------------------------------------------------------------------------
def flexible(rollout: int, stickiness: str = "default", group: str = "g", **more: Any) -> dict[str, Any]:
    parameters = {"rollout": str(rollout), "stickiness": stickiness, "groupId": group}
    return {"name": "flexibleRollout", "parameters": parameters, **more}


def constraint(name: str, operator: str, value: Any, **more: Any) -> dict[str, Any]:
    values = {"values": value} if isinstance(value, list) else {"value": value}
    return {"contextName": name, "operator": operator, **values, **more}


def feature(name: str, *strategies: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": "release", "enabled": True, "strategies": list(strategies), **more}


COLOURS = [{"name": "red", "weight": 333}, {"name": "green", "weight": 333}, {"name": "blue", "weight": 334}]
UNLEASH: dict[str, Any] = {
    "version": 2,
    "segments": [{"id": 1, "constraints": [constraint("country", "IN", ["DE", "PL"])]}],
    "features": [
        feature("half", flexible(50, "userId")),
        feature("tenth", flexible(10, "default", "another")),
        feature("by-company", flexible(37, "company")),
        feature("old", {"name": "gradualRolloutUserId", "parameters": {"percentage": "29", "groupId": "AB"}}),
        feature("sessions", {"name": "gradualRolloutSessionId", "parameters": {"percentage": "61", "groupId": "S"}}),
        feature("colours", flexible(80, "userId"), variants=[{**one, "stickiness": "userId"} for one in COLOURS]),
        feature("strategy-colours", flexible(66, "userId", "sc", variants=[
            {"name": "a", "weight": 1, "stickiness": "userId"}, {"name": "b", "weight": 2, "stickiness": "userId"},
            {"name": "c", "weight": 0, "stickiness": "userId"},
        ])),
        feature("two", flexible(20, "userId", "x", constraints=[constraint("country", "NOT_IN", ["DE"])]),
                flexible(45, "userId", "y", segments=[1])),
        feature("grown-up", flexible(90, "userId", constraints=[
            constraint("age", "NUM_GTE", "18"), constraint("version", "SEMVER_GT", "1.4.0"),
        ])),
        feature("not-grown-up", flexible(90, "userId", constraints=[
            constraint("age", "NUM_GTE", "18", inverted=True),
            constraint("company", "STR_ENDS_WITH", ["1", "2"], inverted=True),
        ])),
        feature("child", flexible(70, "userId", "kid"), dependencies=[{"feature": "colours", "variants": ["red"]}]),
        feature("overridden", {"name": "default"}, variants=[
            {"name": "l", "weight": 500, "stickiness": "userId",
             "overrides": [{"contextName": "country", "values": ["NO"]}]},
            {"name": "r", "weight": 500, "stickiness": "userId"},
        ]),
    ],
}  # fmt: skip


def test_no_user_of_unleash_moves() -> None:
    people = users()
    flags = [one["name"] for one in UNLEASH["features"]]
    theirs = []
    for user in people:
        properties = {name: str(user[name]) for name in ("country", "age", "company", "version") if name in user}
        context: dict[str, Any] = {"userId": user["id"], "properties": properties}
        theirs.append(context | ({"sessionId": user["session"]} if "session" in user else {}))
    contexts = [_for_us(one) for one in theirs]
    answers, results = both("unleash", UNLEASH, flags, theirs, contexts)
    mine = [[_as_unleash(one) for one in row] for row in results]
    assert not differences(flags, answers, mine, contexts)[:5]


def _for_us(context: Mapping[str, Any]) -> dict[str, Any]:
    found = {"targetingKey": context["userId"], **context["properties"]}
    return found | ({"sessionId": context["sessionId"]} if "sessionId" in context else {})


def _as_unleash(result: Result) -> list[Any]:
    """[enabled, variant]."""
    assert result.error is None
    return [result.variant != "off", None if result.variant in ("on", "off") else result.variant]


# --- GrowthBook ---------------------------------------------------------------------------------
GROWTHBOOK: dict[str, Any] = {
    "savedGroups": {
        "staff": [f"user-{n}" for n in range(0, 10_000, 9)],
        "german": {"type": "list", "attributeKey": "country", "values": ["DE", "PL"]},
        "grown": {"type": "condition", "condition": {"age": {"$gte": 30}, "$not": {"$savedGroup": {"id": "german"}}}},
        "round": {"type": "condition", "condition": {"$savedGroup": {"id": "round"}}},
    },
    "features": {
        "quarter": {"defaultValue": False, "rules": [{"force": True, "coverage": 0.25, "hashAttribute": "id"}]},
        "quarter-v2": {"defaultValue": False, "rules": [
            {"force": True, "coverage": 0.2537, "hashVersion": 2, "seed": "salted"},
        ]},
        "button": {"defaultValue": "grey", "rules": [
            {"variations": ["red", "green", "blue"], "weights": [0.3334, 0.3333, 0.3333], "coverage": 0.7,
             "key": "button-exp", "hashVersion": 2, "hashAttribute": "id"},
        ]},
        "spaced": {"defaultValue": 0, "rules": [
            {"variations": [1, 2], "namespace": ["pricing", 0.2, 0.75], "key": "price", "hashAttribute": "id"},
        ]},
        "filtered": {"defaultValue": "none", "rules": [
            {"variations": ["x", "y"], "ranges": [[0, 0.1], [0.5, 0.9]], "seed": "f", "hashVersion": 2,
             "filters": [{"seed": "layer", "ranges": [[0, 0.4], [0.6, 0.8]], "hashVersion": 2, "attribute": "id"}]},
        ]},
        "by-company": {"defaultValue": False, "rules": [
            {"force": True, "coverage": 0.5, "hashAttribute": "company", "fallbackAttribute": "id"},
        ]},
        "targeted": {"defaultValue": "default", "rules": [
            {"condition": {"id": {"$inGroup": "staff"}}, "force": "staff"},
            {"condition": {"$or": [{"country": "PL"}, {"age": {"$gte": 18, "$lt": 40}}],
                           "$not": {"version": {"$vgte": "2.0.0"}}}, "force": "some"},
            {"condition": {"country": {"$in": ["NO", "FR"]}, "company": {"$ne": "c7"}},
             "variations": ["a", "b"], "key": "late", "weights": [0.1, 0.9]},
        ]},
        "groups": {"defaultValue": "none", "rules": [
            {"condition": {"$savedGroup": {"id": "grown"}}, "force": "grown", "coverage": 0.8},
            {"condition": {"$or": [{"$savedGroup": {"id": "round"}}, {"$savedGroup": {"id": "gone"}}]}, "force": "no"},
            {"condition": {"$not": {"$savedGroup": {"id": "german", "attributeKey": "company"}}, "age": {"$lt": 20}},
             "force": "young"},
        ]},
        "held-out": {"defaultValue": "old", "rules": [
            {"variations": ["old", "(goes on)"], "weights": [0.1, 0.9], "hashVersion": 2, "key": "holdout",
             "meta": [{"key": "held"}, {"key": "on", "passthrough": True}]},
            {"variations": ["a", "b"], "coverage": 0.5, "namespace": ["ns", 0.1, 1], "key": "inner"},
            {"force": "rest", "range": [0.25, 0.75], "seed": "r", "hashVersion": 2},
        ]},
        "versions": {"defaultValue": "other", "rules": [
            {"condition": {"version": {"$vgte": "v1.4.0", "$vlt": "2.0.0-rc.1"}}, "force": "first"},
            {"condition": {"version": {"$vne": "2.3.1"}, "country": {"$ini": ["de", "No"]}}, "force": "second"},
            {"condition": {"company": {"$notRegex": "[0-4]$"}, "age": {"$exists": True}}, "force": "third"},
        ]},
        "gated": {"defaultValue": False, "rules": [
            {"parentConditions": [{"id": "quarter", "condition": {"value": True}, "gate": True}]},
            {"force": True, "coverage": 0.6, "seed": "gate", "hashVersion": 2},
        ]},
    },
}  # fmt: skip


def test_no_user_of_growthbook_moves() -> None:
    people = users()
    flags = list(GROWTHBOOK["features"])
    contexts = [{("targetingKey" if name == "id" else name): value for name, value in one.items()} for one in people]
    answers, results = both("growthbook", GROWTHBOOK, flags, people, contexts)
    mine = [[one.value for one in row] for row in results]
    # Behind a closed gate GrowthBook gives the default of the code, which is nothing; here it is the off variant.
    assert None in {row[-1] for row in answers}
    answers = [[*row[:-1], False if row[-1] is None else row[-1]] for row in answers]
    assert not differences(flags, answers, mine, contexts)[:5]


# --- flagd --------------------------------------------------------------------------------------
def split(*by: Any) -> dict[str, Any]:
    return {"fractional": [*by, ["red", 25], ["green", 25], ["blue", 50]]}


def flag(targeting: Any, default: str = "red") -> dict[str, Any]:
    variants = {"red": "#f00", "green": "#0f0", "blue": "#00f"}
    return {"state": "ENABLED", "variants": variants, "defaultVariant": default, "targeting": targeting}


VAR: dict[str, Any] = {name: {"var": name} for name in ("targetingKey", "country", "age", "company", "version")}
FLAGD: dict[str, Any] = {
    "$evaluators": {"central": {"in": [VAR["country"], ["DE", "PL"]]}},
    "flags": {
        "short": flag(split()),
        "by-company": flag(split({"cat": [{"var": "$flagd.flagKey"}, VAR["company"]]})),
        "by-age": flag(split(VAR["age"])),
        "tiny": flag({"fractional": [VAR["targetingKey"], ["red", 1], ["green"], ["blue", 9999]]}),
        "nested": flag({"if": [
            {"$ref": "central"}, split({"cat": ["salt", VAR["targetingKey"]]}),
            {"and": [{">=": [VAR["age"], 18]}, {"!": [{"==": [VAR["country"], "NO"]}]}]}, "green",
            {"<": [VAR["age"], 15]}, {"if": [{"starts_with": [VAR["company"], "c1"]}, "blue"]},
            "green",
        ]}),
        "versions": flag({"if": [
            {"sem_ver": [VAR["version"], "^", "2.0.0"]}, "green",
            {"sem_ver": [VAR["version"], "~", "1.3.0"]}, "blue",
            {"or": [{"sem_ver": [VAR["version"], ">=", "3.5.0"]}, {"ends_with": [VAR["company"], "7"]}]}, None,
            split(),
        ]}, "blue"),
    },
}  # fmt: skip


def test_no_user_of_flagd_moves() -> None:
    contexts = [{("targetingKey" if name == "id" else name): value for name, value in one.items()} for one in users()]
    flags = list(FLAGD["flags"])
    answers, results = both("flagd", FLAGD, flags, contexts, contexts)
    mine = [[one.variant for one in row] for row in results]
    assert not differences(flags, answers, mine, contexts)[:5]


# --- LaunchDarkly -------------------------------------------------------------------------------
def ld_flag(key: str, fallthrough: Any, *rules: Any, **more: Any) -> dict[str, Any]:
    return {
        "key": key, "version": 1, "on": True, "salt": f"salt-{key}", "variations": ["off", "red", "green"],
        "offVariation": 0, "fallthrough": fallthrough, "rules": list(rules), **more,
    }  # fmt: skip


def ld_clause(attribute: str, op: str, *values: Any, **more: Any) -> dict[str, Any]:
    return {"attribute": attribute, "op": op, "values": list(values), **more}


def rollout(*weights: int, **more: Any) -> dict[str, Any]:
    listed = [{"variation": n, "weight": weight} for n, weight in enumerate(weights)]
    return {"rollout": {"kind": "rollout", "contextKind": "user", "variations": listed, **more}}


LAUNCHDARKLY: dict[str, Any] = {
    "segments": {
        "insiders": {
            "key": "insiders", "version": 1, "salt": "s", "included": [f"user-{n}" for n in range(0, 10_000, 7)],
            "excluded": [f"user-{n}" for n in range(0, 10_000, 21)],
            "rules": [
                {"clauses": [ld_clause("country", "in", "NO"), ld_clause("age", "greaterThan", 40)]},
                {"clauses": [ld_clause("company", "endsWith", "3", negate=True)]},
            ],
        },
        "orgs": {
            "key": "orgs", "version": 1, "salt": "s", "includedContexts": [{"contextKind": "org", "values": ["o3"]}],
            "excludedContexts": [{"contextKind": "org", "values": ["o4"]}],
            "rules": [{"clauses": [ld_clause("plan", "startsWith", "p", contextKind="org")]}],
        },
        "outer": {"key": "outer", "version": 1, "salt": "s", "included": [], "excluded": [], "rules": [
            {"clauses": [ld_clause("", "segmentMatch", "insiders"), ld_clause("version", "matches", "^v?[12]")]},
        ]},
    },
    "flags": {one["key"]: one for one in (
        ld_flag("thirds", rollout(33_333, 33_333, 33_334)),
        ld_flag("by-company", rollout(10_000, 20_000, 70_000, bucketBy="company")),
        ld_flag("seeded", rollout(50_000, 25_000, 25_000, seed=61)),
        ld_flag("short", rollout(10_000, 10_000)),
        ld_flag("experiment", rollout(40_000, 30_000, 30_000, kind="experiment", seed=7, bucketBy="company")),
        ld_flag("told", {"variation": 0},
                {"id": "one", "clauses": [ld_clause("", "segmentMatch", "insiders")], "variation": 1},
                {"id": "two", "clauses": [ld_clause("country", "in", "DE", "PL", negate=True)],
                 **rollout(0, 60_000, 40_000)},
                {"id": "three", "clauses": [ld_clause("age", "lessThanOrEqual", 30, 20)], "variation": 2}),
        ld_flag("outside", {"variation": 1},
                {"id": "out", "clauses": [ld_clause("", "segmentMatch", "outer", "gone", negate=True)],
                 "variation": 2}),
        ld_flag("versions", {"variation": 0},
                {"id": "v", "clauses": [ld_clause("version", "semVerGreaterThan", "2.3")], "variation": 1},
                {"id": "w", "clauses": [ld_clause("version", "semVerLessThan", "1.5.0", negate=True)],
                 "variation": 2}),
        ld_flag("targeted", rollout(50_000, 50_000, 0),
                targets=[{"variation": 2, "values": [f"user-{n}" for n in range(0, 10_000, 5)]}]),
        ld_flag("kinds", rollout(30_000, 30_000, 40_000, contextKind="org"),
                {"id": "k", "clauses": [ld_clause("plan", "in", "pro", contextKind="org"),
                                        ld_clause("/seats/paid", "greaterThan", 3, contextKind="org", negate=True)],
                 "variation": 1},
                contextTargets=[{"contextKind": "org", "variation": 2, "values": ["o1", "o2"]}]),
        ld_flag("kinds-of-a-segment", {"variation": 0},
                {"id": "s", "clauses": [ld_clause("", "segmentMatch", "orgs")], "variation": 1}),
        ld_flag("since", {"variation": 0},
                {"id": "s", "clauses": [ld_clause("joined", "after", "2024-06-01T00:00:00Z")], "variation": 1},
                {"id": "t", "clauses": [ld_clause("joined", "before", 1_650_000_000_000, negate=True)],
                 "variation": 2}),
        ld_flag("child", rollout(0, 50_000, 50_000), prerequisites=[{"key": "thirds", "variation": 2}]),
        ld_flag("grandchild", {"variation": 2}, prerequisites=[{"key": "child", "variation": 1},
                                                               {"key": "seeded", "variation": 0}]),
    )},
}  # fmt: skip


def test_no_user_of_launchdarkly_moves() -> None:
    people = [{("key" if name == "id" else name): value for name, value in one.items()} for one in users()]
    for n, one in enumerate(people):
        if n % 4:
            one["org"] = {"key": f"o{n % 97}", "plan": ("pro", "free", "plus")[n % 3], "seats": {"paid": n % 8}}
        if n % 9:
            moment = datetime.fromtimestamp(1_600_000_000 + n * 20_000, UTC)
            one["joined"] = moment.isoformat() if n % 2 else int(moment.timestamp() * 1000)
    flags = list(LAUNCHDARKLY["flags"])
    contexts = [{("targetingKey" if name == "key" else name): value for name, value in one.items()} for one in people]
    answers, results = both("launchdarkly", LAUNCHDARKLY, flags, people, contexts)
    mine = [[one.value for one in row] for row in results]
    assert not differences(flags, answers, mine, contexts)[:5]
