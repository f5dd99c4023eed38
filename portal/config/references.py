"""The services and environments that things in a document name by their keys."""

from collections.abc import Mapping
from typing import Any

from portal.errors import Invalid
from portal.models import Environment, Service

PLACES: Mapping[str, type[Service] | type[Environment]] = {"service": Service, "environment": Environment}


def places(given: Mapping[str, Any]) -> dict[str, Any]:
    """The fields, with what `service` and `environment` name. Raises Invalid for what is not there."""
    found: dict[str, Any] = {}
    for name, model in PLACES.items():
        key = given.get(name)
        if key is not None:
            found[name] = model.objects.filter(key=key).first() if isinstance(key, str) else None
    faults = {name: f"there is no {name} '{str(given[name])[:100]}'" for name, place in found.items() if place is None}
    if faults:
        raise Invalid(faults)
    return {**given, **found}
