"""Thresholds in the document that are combined of others: by name, whichever comes first."""

import pytest

from monitoring.models import Threshold
from portal.config import applying
from portal.config.kinds import Scope
from tests import make
from tests.make import BY
from tests.monitoring import watching
from tests.portal.config.documents import applied, does, emptied, exported, left_out

pytestmark = pytest.mark.django_db

PLACES = "services: {checkout: {}}\nenvironments: {staging: {}}\n"
BOTH = "combine: {of: [slow, wrong], need: all}"
TWO = "slow: {condition: latency > 5}, wrong: {condition: errors > 5}"


@pytest.mark.parametrize("how", [BOTH, "condition: 'all(slow, wrong)'"])
def test_a_combination_may_stand_before_what_it_is_of(how: str) -> None:
    text = f"thresholds: {{both: {{{how}}}, {TWO}}}"
    applied(text)
    members = Threshold.objects.get(name="both").members
    assert set(Threshold.objects.filter(pk__in=members).values_list("name", flat=True)) == {"slow", "wrong"}
    assert set(does(applied(text)).values()) == {"keep"}


def test_an_export_names_what_a_combination_is_of_so_that_it_is_the_same_elsewhere() -> None:
    applied(f"thresholds: {{{TWO}, both: {{{BOTH}}}}}")
    text = exported()
    assert set(does(applied(text)).values()) == {"keep"}
    emptied()
    watching.threshold("another")  # numbers are not what they were
    assert set(does(applied(text)).values()) == {"create"}
    Threshold.objects.filter(name="another").update(active=False)
    content, _ = applying.export(Scope(BY))
    assert content["thresholds"]["both"]["combine"]["of"] == ["slow", "wrong"]


def test_one_of_what_cannot_be_named_is_left_out_and_that_is_said() -> None:
    watching.place()
    make.environment("production")
    here = "matchers: {environment: production}"
    applied(
        f"{PLACES}thresholds: {{slow: {{condition: latency > 5}}, wrong: {{metric: errors, aggregation: mean, "
        f"operator: '>', error: 5, {here}}}, both: {{{BOTH}, {here}}}}}"
    )
    words = "threshold both: it combines others that cannot be named in this document"
    assert words in left_out(environment="production")
    assert words not in left_out()
    watching.threshold("slow")
    assert words in left_out()
    assert "  both:\n" not in exported()
