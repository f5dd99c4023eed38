"""Who may do what, where."""

import pytest

from portal import keys, permissions
from portal.audit import Automaton
from portal.errors import Forbidden
from portal.models import ApiKey, Environment, Grant, Service, User

pytestmark = pytest.mark.django_db
BY = Automaton("test")
DEEDS = ("view", "operate", "deploy", "approve", "configure", "administer")


@pytest.fixture
def production() -> Environment:
    return Environment.objects.create(key="production")


@pytest.fixture
def staging() -> Environment:
    return Environment.objects.create(key="staging")


@pytest.fixture
def shop() -> Service:
    return Service.objects.create(key="shop")


def _person(*roles: str, environment: Environment | None = None, service: Service | None = None) -> User:
    person = User.objects.create(username="dana")
    for role in roles:
        Grant.objects.create(user=person, role=role, environment=environment, service=service)
    return person


@pytest.mark.parametrize(
    ("role", "may"),
    [
        ("viewer", {"view"}),
        ("operator", {"view", "operate"}),
        ("approver", {"view", "approve"}),
        ("captain", {"view", "operate", "deploy", "configure"}),
        ("owner", {"view", "operate", "deploy", "configure", "administer"}),
    ],
)
def test_each_role_may_what_it_is_for_and_no_more(role: str, may: set[str]) -> None:
    person = _person(role)
    assert {deed for deed in DEEDS if permissions.can(person, deed)} == may


def test_a_role_in_one_environment_is_none_in_another(production: Environment, staging: Environment) -> None:
    person = _person("captain", environment=staging)
    assert permissions.can(person, "deploy", environment=staging)
    assert not permissions.can(person, "deploy", environment=production)
    assert not permissions.can(person, "deploy")
    assert permissions.can(person, "deploy", environment=permissions.ANY)


def test_a_role_for_one_service_is_none_for_another(production: Environment, shop: Service) -> None:
    other = Service.objects.create(key="search")
    person = _person("operator", service=shop)
    assert permissions.can(person, "operate", environment=production, service=shop)
    assert not permissions.can(person, "operate", environment=production, service=other)
    assert not permissions.can(person, "operate", environment=production)


def test_whoever_was_deactivated_may_nothing_superuser_or_not() -> None:
    person = User.objects.create(username="gone", is_superuser=True, is_active=False)
    assert not any(permissions.can(person, deed) for deed in DEEDS)


@pytest.mark.parametrize(
    ("scope", "may"),
    [
        ("evaluate", set()),
        ("ingest", set()),
        ("feedback", set()),
        ("evidence", set()),
        ("read", {"view"}),
        ("write", {"view", "operate", "deploy", "configure"}),
        ("admin", {"view", "operate", "deploy", "configure", "administer"}),
    ],
)
def test_a_key_may_what_its_scope_says_and_never_votes(scope: str, may: set[str], production: Environment) -> None:
    bound = [production] if scope == "evaluate" else None
    key, _ = keys.create("ci", scopes=[scope], environments=bound, by=BY)
    assert {deed for deed in DEEDS if permissions.can(key, deed, environment=production)} == may


def test_a_key_reaches_only_its_environments(production: Environment, staging: Environment) -> None:
    key, _ = keys.create("ci", scopes=["write"], environments=[staging], by=BY)
    assert permissions.can(key, "operate", environment=staging)
    assert not permissions.can(key, "operate", environment=production)
    assert not permissions.can(key, "operate")


def test_a_refusal_says_who_may_not_do_what_where(production: Environment) -> None:
    person = _person("viewer")
    with pytest.raises(Forbidden, match="dana may not deploy in production"):
        permissions.require(person, "deploy", environment=production)


def test_ingest_needs_its_scope(production: Environment, staging: Environment) -> None:
    key, _ = keys.create("ci", scopes=["ingest"], environments=[staging], by=BY)
    permissions.require_scope(key, "ingest", environment=staging)
    with pytest.raises(Forbidden):
        permissions.require_scope(key, "ingest", environment=production)
    with pytest.raises(Forbidden):
        permissions.require_scope(key, "feedback", environment=staging)


def test_lists_show_only_what_may_be_viewed(production: Environment, staging: Environment) -> None:
    everything = Environment.objects.all()
    key, _ = keys.create("ci", scopes=["read"], environments=[staging], by=BY)
    seen = permissions.visible(key, everything, environment="id", service=None)
    assert [row.key for row in seen] == ["staging"]
    assert not permissions.visible(_person(), everything, environment="id", service=None).exists()
    ingest, _ = keys.create("in", scopes=["ingest"], by=BY)
    assert not permissions.visible(ingest, everything, environment="id", service=None).exists()


def test_a_key_is_kept_only_as_its_hash() -> None:
    key, raw = keys.create("ci", scopes=["read"], by=BY)
    assert keys.digest(raw) == key.digest
    assert raw not in str(ApiKey.objects.filter(pk=key.pk).values().get())
