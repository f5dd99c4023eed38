"""The contexts that were sampled of late."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from portal.models import Environment
from rollouts.models import ContextSample

MOST = 5000


@dataclass(frozen=True, slots=True)
class Seen:
    """A context of a unit, and when it was seen last."""

    pk: int
    unit: str
    context: dict[str, Any]
    at: datetime


def recent(environment: Environment, limit: int = MOST) -> list[dict[str, Any]]:
    """The newest sampled contexts of an environment, newest first, one a unit; masked attributes are masked."""
    rows = ContextSample.objects.filter(environment=environment)
    return list(rows.values_list("context", flat=True)[:limit])


def newest(environment: Environment, *, containing: str = "", limit: int = 20) -> list[Seen]:
    """The newest ones with their units, of units that contain these words: to pick one."""
    rows = ContextSample.objects.filter(environment=environment)
    if containing:
        rows = rows.filter(unit__icontains=containing)
    return [Seen(*row) for row in rows.values_list("pk", "unit", "context", "at")[:limit]]


def of_unit(environment: Environment, unit: str) -> Seen | None:
    """The newest context of this unit, if one was sampled."""
    row = (
        ContextSample.objects.filter(environment=environment, unit=unit)
        .values_list("pk", "unit", "context", "at")
        .first()
    )
    return Seen(*row) if row else None
