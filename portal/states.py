"""The one mover of every status."""

from typing import Any

from django.db import models, transaction

from portal import audit
from portal.errors import Refused


def move(thing: models.Model, to: str, *, by: audit.Actor, because: str = "", **changes: Any) -> bool:
    """Lock the row, check MOVES, save, audit. False when it is there already: a retried task is harmless.

    `thing` is refreshed from the locked row; `changes` are further fields saved with the status.
    Raises Refused when the table does not allow the move.
    """
    model = type(thing)
    moves: dict[str, set[str]] = model.MOVES  # type: ignore[attr-defined]
    with transaction.atomic():
        locked = model._base_manager.select_for_update(of=("self",)).get(pk=thing.pk)
        for field in model._meta.concrete_fields:
            setattr(thing, field.attname, getattr(locked, field.attname))
        was = str(locked.status)  # type: ignore[attr-defined]
        if was == to:
            return False
        noun = str(model._meta.verbose_name)
        if to not in moves.get(was, set()):
            raise Refused(f"{noun} {thing.pk} is {_words(was)}: it cannot become {_words(to)}")
        before = {"status": was} | {name: getattr(thing, name) for name in changes}
        thing.status = to  # type: ignore[attr-defined]
        for name, value in changes.items():
            setattr(thing, name, value)
        thing.save(update_fields=["status", *changes])
        audit.record(
            f"{model._meta.model_name}.{to}",
            thing,
            by=by,
            before=_labels(before),
            after=_labels({"status": to} | changes),
            because=because,
        )
    return True


def _words(status: str) -> str:
    return status.replace("_", " ")


def _labels(values: dict[str, Any]) -> dict[str, Any]:
    return {name: str(value) if isinstance(value, models.Model) else value for name, value in values.items()}
