"""Rotas and escalation policies in the document: applied, exported, the same again."""

import pytest

from monitoring.models import EscalationPolicy, Rota
from portal.config import applying, kinds, reading
from portal.config.applying import Outcome
from portal.config.kinds import Scope
from portal.errors import Invalid
from tests import make
from tests.make import BY

pytestmark = pytest.mark.django_db
DOCUMENT = f"{kinds.template('rotas')}{kinds.template('escalation_policies')}".replace("#  ", "  ")


@pytest.fixture(autouse=True)
def people(db: None) -> None:
    for name in ("dana", "sam", "olga"):
        make.person(name)


def applied(document: str) -> Outcome:
    return applying.apply(applying.read(reading.from_text(document)), by=BY)


def test_the_template_is_applied_and_a_second_time_changes_nothing() -> None:
    applied(DOCUMENT)
    assert Rota.objects.get().layers[0]["people"] == ["dana", "sam"]
    assert [step["delay"] for step in EscalationPolicy.objects.get().steps] == [900, 900]
    assert {change.does for change in applied(DOCUMENT).changes} == {"keep"}


def test_what_is_exported_says_the_same_when_it_is_applied() -> None:
    applied(DOCUMENT)
    document = applying.as_yaml(*applying.export(Scope(BY)))
    assert {change.does for change in applied(document).changes} == {"keep"}


def test_a_fault_is_named_by_its_path() -> None:
    with pytest.raises(Invalid) as refusal:
        applied(DOCUMENT.replace("[dana, sam]", "[nobody]"))
    assert "rotas.primary.layers[0].people" in refusal.value.errors
