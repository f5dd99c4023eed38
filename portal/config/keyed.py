"""What the kinds with one section share: things by their keys, made if they are not there, else changed."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol, TypeVar

from django.db.models import Model, QuerySet

from portal import permissions
from portal.audit import Actor
from portal.config.kinds import Scope, Things
from portal.config.run import Run
from portal.errors import Invalid

M = TypeVar("M", bound=Model)
Write = Callable[[Run, str, str, Any], None]  # of a path, a key and what the document says of it


class Verbs(Protocol):
    """A module of actions, where every field left out keeps its value."""

    def create(self, key: str, fields: Mapping[str, Any], /, *, by: Actor) -> Any: ...
    def change(self, thing: Any, fields: Mapping[str, Any], /, *, by: Actor) -> Any: ...
    def shown(self, thing: Any, /) -> dict[str, Any]: ...


def each(section: str, write: Write) -> Callable[[Run, dict[str, Things]], None]:
    """Apply the section thing by thing, so that the faults of all are told."""

    def apply(run: Run, found: dict[str, Things]) -> None:
        for key, given in found.get(section, {}).items():
            path = f"{section}.{key}"
            run.attempt(path, partial(write, run, path, key, given))

    return apply


def fields_of(given: Any) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise Invalid.of("", "must be a mapping of fields")
    if "key" in given:
        raise Invalid.of("key", "unknown field: it stands before the fields")
    return dict(given)


def write(run: Run, path: str, verbs: Verbs, held: Model | None, key: str, fields: Mapping[str, Any]) -> None:
    before = verbs.shown(held) if held else {}
    made = verbs.change(held, fields, by=run.by) if held else verbs.create(key, fields, by=run.by)
    run.told(path, before, verbs.shown(made))


def seen(scope: Scope, section: str, rows: "QuerySet[M]", *, name: str = "key") -> list[M]:
    """Those that are to be exported: of the environment that was asked for, and visible there."""
    rows = permissions.visible(scope.by, rows)
    if scope.environment is not None:
        rows = rows.filter(environment__key=scope.environment)
    return [one for one in rows if scope.wants(section, getattr(one, name))]
