"""Services and environments in a document."""

from functools import partial
from typing import Any

from portal import permissions, places
from portal.config.kinds import Kind, Scope, Things
from portal.config.run import Run
from portal.errors import Invalid
from portal.models import Environment, Service

SERVICES = """\
services:
  checkout:                       # the key: letters, digits, dots, dashes, underscores
    name: Checkout
    description: Takes the money.
"""
ENVIRONMENTS = """\
environments:
  staging:
    name: Staging
    rank: 1                       # order in lists; production last
    protected: false              # true: edited by approved change requests alone
    approval_policy: not_required # or four_eyes; empty: not decided, nothing may start
"""


def _apply(run: Run, found: dict[str, Things]) -> None:
    for key, fields in found.get("services", {}).items():
        run.attempt(f"services.{key}", partial(_service, run, key, fields))
    for key, fields in found.get("environments", {}).items():
        run.attempt(f"environments.{key}", partial(_environment, run, key, fields))


def _service(run: Run, key: str, given: Any) -> None:
    fields = _fields(given, places.SERVICE_FIELDS)
    held = Service.objects.filter(key=key).first()
    before = _shown(held, places.SERVICE_FIELDS) if held else {}
    if held is None:
        held = places.create_service(key, by=run.by, **fields)
    else:
        held = places.change_service(held, fields, by=run.by, because=run.because)
    run.told(f"services.{key}", before, _shown(held, places.SERVICE_FIELDS))


def _environment(run: Run, key: str, given: Any) -> None:
    fields = _fields(given, places.ENVIRONMENT_FIELDS)
    if "protected" in fields and type(fields["protected"]) is not bool:
        raise Invalid.of("protected", "must be true or false")
    held = Environment.objects.filter(key=key).first()
    before = _shown(held, places.ENVIRONMENT_FIELDS) if held else {}
    if held is not None:
        held = places.change_environment(held, fields, by=run.by, because=run.because)
    else:
        # Nobody is served yet in one that is being made, so what belongs into it needs no change request.
        protected = fields.pop("protected", False)
        held = made = places.create_environment(key, by=run.by, **fields)
        if protected:
            change = partial(places.change_environment, made, {"protected": True}, by=run.by, because=run.because)
            run.last.append((f"environments.{key}", lambda: _ignore(change())))
        fields["protected"] = protected
    run.told(f"environments.{key}", before, {**_shown(held, places.ENVIRONMENT_FIELDS), **fields})


def _ignore(_: Any) -> None:
    """The verb's answer is not needed."""


def _export(scope: Scope) -> tuple[dict[str, Things], list[str]]:
    services = permissions.visible(scope.by, Service.objects.all(), environment=None, service="id")
    seen = permissions.visible(scope.by, Environment.objects.all(), environment="id", service=None)
    if scope.environment is not None:
        seen = seen.filter(key=scope.environment)
    return {
        "services": {
            one.key: _shown(one, places.SERVICE_FIELDS) for one in services if scope.wants("services", one.key)
        },
        "environments": {
            one.key: _shown(one, places.ENVIRONMENT_FIELDS) for one in seen if scope.wants("environments", one.key)
        },
    }, []


def _fields(given: Any, known: tuple[str, ...]) -> dict[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise Invalid.of("", "must be a mapping")
    unknown = [name for name in given if name not in known]
    if unknown:
        raise Invalid(dict.fromkeys(unknown, "unknown field"))
    for name, value in given.items():
        if name in ("name", "description", "approval_policy") and not isinstance(value, str):
            raise Invalid.of(name, "must be a text")
    return dict(given)


def _shown(thing: Any, fields: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(thing, name) for name in fields}


KIND = Kind(("services", "environments"), _apply, _export, {"services": SERVICES, "environments": ENVIRONMENTS})
