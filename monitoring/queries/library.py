"""The shipped definitions: metrics, bounds and advice that most services want, and what of them a place has."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from monitoring.coverage import Signal
from monitoring.models import Threshold
from monitoring.queries import matched
from monitoring.queries.matched import Asked
from portal.models import Environment, Service

DATA = Path(__file__).resolve().parent.parent / "library.json"


@dataclass(frozen=True, slots=True)
class Definition:
    """A threshold that is ready to be taken over, but for where it is."""

    key: str
    group: str
    name: str
    metric: str
    unit: str
    type: str
    direction: str
    condition: str
    advice: str
    denominator: str = ""
    signal: str = ""

    @property
    def metrics(self) -> list[str]:
        return [name for name in (self.metric, self.denominator) if name]


@dataclass(frozen=True, slots=True)
class Offer:
    """One definition at one place: taken over already, and whether its metric is measured there."""

    definition: Definition
    threshold: Threshold | None
    measured: bool


@lru_cache(maxsize=1)
def definitions() -> dict[str, Definition]:
    """By key, in the order of the file."""
    content = json.loads(DATA.read_text(encoding="utf-8"))
    return {one["key"]: Definition(**one) for one in content["definitions"]}


@lru_cache(maxsize=1)
def groups() -> dict[str, str]:
    """Their names for people, by the word that the definitions use."""
    return dict(json.loads(DATA.read_text(encoding="utf-8"))["groups"])


def signals() -> dict[str, Signal]:
    """Of the shipped metrics, those that tell of one."""
    return {one.metric: Signal(one.signal) for one in definitions().values() if one.signal}


def labels(service: Service, environment: Environment) -> dict[str, str]:
    return {"service": service.key, "environment": environment.key}


def offers(service: Service, environment: Environment) -> list[Offer]:
    """Every definition as it would be there: two queries."""
    known: Sequence[Definition] = list(definitions().values())
    held = Threshold.objects.active().filter(service=service, environment=environment).exclude(library="")
    by_key = {one.library: one for one in held}
    where = labels(service, environment)
    names = {name for one in known for name in one.metrics}
    found = matched.series([Asked(name, name, where) for name in sorted(names)])
    return [Offer(one, by_key.get(one.key), all(found.get(name) for name in one.metrics)) for one in known]
