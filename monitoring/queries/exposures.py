"""What was counted of flags' variants, and what a unit was shown."""

from dataclasses import dataclass
from datetime import datetime

from monitoring.models import Exposure, VariantCount
from portal.models import Environment


@dataclass(frozen=True, slots=True)
class Cell:
    """A variant in one minute (of older days: in one hour)."""

    time: datetime
    variant: str
    evaluations: int
    exposures: int


@dataclass(frozen=True, slots=True)
class Recorded:
    """A unit was shown a variant, for the first time in its window."""

    time: datetime
    variant: str
    revision: int | None
    reason: str
    source: str


def counts(environment: Environment, flag: str, *, since: datetime, until: datetime) -> list[Cell]:
    """By minute and variant, the oldest first."""
    rows = VariantCount.objects.filter(environment=environment, flag=flag, minute__gte=since, minute__lt=until)
    fields = ("minute", "variant", "evaluations", "exposures")
    return [Cell(*row) for row in rows.order_by("minute", "variant").values_list(*fields)]


def of_unit(environment: Environment, flag: str, unit: str, *, limit: int = 20) -> list[Recorded]:
    """What the unit was shown of the flag, the newest first."""
    rows = Exposure.objects.filter(environment=environment, flag=flag, unit=unit)
    fields = ("time", "variant", "revision", "reason", "source")
    return [Recorded(*row) for row in rows.order_by("-time", "-id").values_list(*fields)[:limit]]
