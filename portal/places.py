"""Making and changing services and environments."""

from collections.abc import Mapping
from typing import Any, TypeVar

from django.core.exceptions import ValidationError
from django.db import models, transaction

from portal import audit, permissions
from portal.errors import Invalid, Refused
from portal.models import Environment, Service

ENVIRONMENT_FIELDS = ("name", "rank", "protected", "approval_policy")
SERVICE_FIELDS = ("name", "description")
T = TypeVar("T", bound=models.Model)


def create_service(key: str, *, by: audit.Actor, **fields: Any) -> Service:
    permissions.require(by, "configure")
    return _create(Service(key=key, **fields), by=by, fields=SERVICE_FIELDS)


def change_service(service: Service, changes: Mapping[str, Any], *, by: audit.Actor, because: str = "") -> Service:
    permissions.require(by, "configure", service=service)
    return _change(service, changes, by=by, because=because)


def create_environment(key: str, *, by: audit.Actor, **fields: Any) -> Environment:
    permissions.require(by, "administer")
    return _create(Environment(key=key, **fields), by=by, fields=ENVIRONMENT_FIELDS)


def change_environment(
    environment: Environment, changes: Mapping[str, Any], *, by: audit.Actor, because: str = ""
) -> Environment:
    """Also how the approval policy is decided: an explicit, audited act."""
    permissions.require(by, "administer", environment=environment)
    return _change(environment, changes, by=by, because=because)


def _create(thing: T, *, by: audit.Actor, fields: tuple[str, ...]) -> T:
    noun = str(thing._meta.verbose_name)
    if type(thing)._default_manager.filter(key=thing.key).exists():  # type: ignore[attr-defined]
        raise Refused(f"there is a {noun} {thing.key} already")  # type: ignore[attr-defined]
    _check(thing)
    with transaction.atomic():
        thing.save(force_insert=True)
        after = {name: getattr(thing, name) for name in ("key", *fields)}
        audit.record(f"{thing._meta.model_name}.created", thing, by=by, after=after)
    return thing


def _change(thing: T, changes: Mapping[str, Any], *, by: audit.Actor, because: str) -> T:
    with transaction.atomic():
        thing.refresh_from_db(from_queryset=type(thing)._default_manager.select_for_update())
        before = {name: getattr(thing, name) for name in changes}
        if before == dict(changes):
            return thing
        for name, value in changes.items():
            setattr(thing, name, value)
        _check(thing)
        thing.save(update_fields=list(changes))
        verb = f"{thing._meta.model_name}.changed"
        audit.record(verb, thing, by=by, before=before, after=changes, because=because)
    return thing


def _check(thing: models.Model) -> None:
    try:
        thing.full_clean()
    except ValidationError as error:
        raise Invalid(
            {name.replace("__all__", ""): " ".join(texts) for name, texts in error.message_dict.items()}
        ) from None
