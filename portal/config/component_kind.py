"""Components of the status page in a document, by their names. What a person says of one is of the moment."""

from typing import Any

from monitoring.actions import statuspage
from monitoring.api.statuspage import StatusComponentShape
from monitoring.models import StatusComponent
from portal import drf
from portal.config import keyed
from portal.config.kinds import Kind, Scope, Things
from portal.config.run import Run
from portal.errors import Invalid

SECTION = "status_components"
COMPONENTS = """\
status_components:
  Checkout:                       # the name that users read
    description: Paying for what is in the basket
    position: 10                  # order on the page
    # service: checkout           # whose open incidents it follows
    # environment: production     # of these; left out: of any
    auto_publish: false           # true: its service's SEV1 and SEV2 incidents are told by themselves
"""


class ComponentBody(StatusComponentShape):
    """As by REST, without the state."""

    status = None  # type: ignore[assignment]


def _write(run: Run, path: str, key: str, given: Any) -> None:
    fields = keyed.fields_of(given)
    if "name" in fields:
        raise Invalid.of("name", "unknown field: it stands before the fields")
    checked = drf.checked(ComponentBody, {**fields, "name": key})
    held = StatusComponent.objects.select_related("service", "environment").filter(name=checked["name"]).first()
    before = _shown(held) if held else {}
    if held is not None:
        made = statuspage.change_component(held, checked, by=run.by)
    else:
        made = statuspage.create_component(checked, by=run.by)
    run.told(path, before, _shown(made))


def _export(scope: Scope) -> tuple[dict[str, Things], list[str]]:
    rows = keyed.seen(scope, SECTION, StatusComponent.objects.select_related("service", "environment"), name="name")
    said = [one for one in rows if one.status != StatusComponent.Status.COMPUTED]
    left_out = [f"status component {one}: that a person says it is {one.status.replace('_', ' ')}" for one in said]
    return {SECTION: {one.name: _shown(one) for one in rows}}, left_out


def _shown(component: StatusComponent) -> dict[str, Any]:
    return {
        "description": component.description,
        "position": component.position,
        "service": component.service.key if component.service else None,
        "environment": component.environment.key if component.environment else None,
        "auto_publish": component.auto_publish,
    }


KIND = Kind((SECTION,), keyed.each(SECTION, _write), _export, {SECTION: COMPONENTS})
