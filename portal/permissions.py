"""Who may do what, where. Asked in the actions, so every door gets the same answer."""

from typing import Final, TypeVar

from django.db.models import Model, Q, QuerySet

from portal.audit import Actor, Automaton, describe
from portal.errors import Forbidden
from portal.models import ApiKey, Environment, Grant, Service, User

Role = Grant.Role
Scope = ApiKey.Scope

# What each role may do. Nobody but an approver votes: not even an owner, unless granted both.
ROLES_THAT_MAY: Final[dict[str, frozenset[str]]] = {
    "view": frozenset(Role.values),
    "operate": frozenset({Role.OPERATOR, Role.CAPTAIN, Role.OWNER}),
    "deploy": frozenset({Role.CAPTAIN, Role.OWNER}),
    "approve": frozenset({Role.APPROVER}),
    "configure": frozenset({Role.CAPTAIN, Role.OWNER}),
    "administer": frozenset({Role.OWNER}),
}
SCOPES_THAT_MAY: Final[dict[str, frozenset[str]]] = {
    "view": frozenset({Scope.READ, Scope.WRITE, Scope.ADMIN}),
    "operate": frozenset({Scope.WRITE, Scope.ADMIN}),
    "deploy": frozenset({Scope.WRITE, Scope.ADMIN}),
    "approve": frozenset(),
    "configure": frozenset({Scope.WRITE, Scope.ADMIN}),
    "administer": frozenset({Scope.ADMIN}),
}


class _Any:
    """In at least one, whichever."""

    def __repr__(self) -> str:
        return "ANY"


ANY: Final = _Any()
Where = Environment | _Any | None
Whose = Service | _Any | None
M = TypeVar("M", bound=Model)


def can(by: Actor, what: str, *, environment: Where = None, service: Whose = None) -> bool:
    """May `by` do it? None asks "in all of them", ANY "in at least one"."""
    if isinstance(by, Automaton):
        return True
    if isinstance(by, ApiKey):
        return bool(SCOPES_THAT_MAY[what] & set(by.scopes)) and _key_covers(by, environment, service)
    if not by.is_active:
        return False
    if by.is_superuser:
        return True
    return bool(_grants(by, what, environment, service))


def require(by: Actor, what: str, *, environment: Where = None, service: Whose = None) -> None:
    """Raise Forbidden, in words, unless `by` may do it."""
    if not can(by, what, environment=environment, service=service):
        place = "" if isinstance(environment, _Any) else f" in {environment or 'every environment'}"
        whose = f" for {service}" if isinstance(service, Service) else ""
        raise Forbidden(f"{describe(by)} may not {what}{place}{whose}")


def require_scope(by: Actor, scope: str, *, environment: Where = ANY, service: Whose = ANY) -> None:
    """Raise Forbidden unless `by` is a key with this scope (or `admin`), or a person who may operate."""
    if isinstance(by, ApiKey):
        if {scope, Scope.ADMIN} & set(by.scopes) and _key_covers(by, environment, service):
            return
        raise Forbidden(f"{describe(by)} does not carry the scope {scope} here")
    require(by, "operate", environment=environment, service=service)


def visible(
    by: Actor, rows: "QuerySet[M]", *, environment: str | None = "environment", service: str | None = "service"
) -> "QuerySet[M]":
    """The rows that `by` may view; `environment` and `service` name the rows' foreign keys, or None."""
    if isinstance(by, Automaton) or (isinstance(by, User) and by.is_active and by.is_superuser):
        return rows
    if isinstance(by, ApiKey):
        if not SCOPES_THAT_MAY["view"] & set(by.scopes):
            return rows.none()
        seen = Q()
        if environment and not by.all_environments:
            seen &= Q(**{f"{environment}__in": by.environments.all()}) | Q(**{f"{environment}__isnull": True})
        if service and not by.all_services:
            seen &= Q(**{f"{service}__in": by.services.all()}) | Q(**{f"{service}__isnull": True})
        return rows.filter(seen)
    if not by.is_active:
        return rows.none()
    grants = list(by.grants.all())
    if not grants:
        return rows.none()
    seen = Q(pk__in=[])
    for grant in grants:
        one = Q()
        if environment and grant.environment_id:
            one &= Q(**{environment: grant.environment_id}) | Q(**{f"{environment}__isnull": True})
        if service and grant.service_id:
            one &= Q(**{service: grant.service_id}) | Q(**{f"{service}__isnull": True})
        if not one:
            return rows
        seen |= one
    return rows.filter(seen)


def environments_seen_whole(by: Actor) -> list[Environment]:
    """Those in which `by` may view what is there, whichever service it is about."""
    places = Environment.objects.all()
    if isinstance(by, User) and by.is_active and not by.is_superuser:
        grants = list(by.grants.all())
        return [one for one in places if any(_allows(grant, "view", one, None) for grant in grants)]
    return [one for one in places if can(by, "view", environment=one)]


def _grants(user: User, what: str, environment: Where, service: Whose) -> list[Grant]:
    """Those that allow it. Judged in memory: a page that has fetched the grants once asks a hundred times for free."""
    return [grant for grant in user.grants.all() if _allows(grant, what, environment, service)]


def _allows(grant: Grant, what: str, environment: Where, service: Whose) -> bool:
    return (
        grant.role in ROLES_THAT_MAY[what]
        and _covers(grant.environment_id, environment)
        and _covers(grant.service_id, service)
    )


def _covers(granted: int | None, place: Where | Whose) -> bool:
    """Does a grant for this one row (None: for all) reach as far as was asked?"""
    if granted is None or isinstance(place, _Any):
        return True
    return place is not None and granted == place.pk


def _key_covers(key: ApiKey, environment: Where, service: Whose) -> bool:
    if not key.all_environments:
        if environment is None:
            return False
        if isinstance(environment, Environment) and not key.environments.filter(pk=environment.pk).exists():
            return False
    if not key.all_services:
        if service is None:
            return False
        if isinstance(service, Service) and not key.services.filter(pk=service.pk).exists():
            return False
    return True
