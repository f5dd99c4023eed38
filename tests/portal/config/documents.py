"""A document applied to the portal, the portal as a document, and a portal with nothing in it."""

from django.db import connection

from monitoring.actions import catching
from portal.audit import Actor
from portal.config import applying, reading
from portal.config.applying import Outcome
from portal.config.kinds import Scope
from tests.make import BY

# What everything that a document can say hangs on, or is.
TABLES = (
    "portal_environment", "portal_service", "rollouts_flag", "rollouts_segment", "rollouts_plan",
    "monitoring_threshold", "monitoring_escalationpolicy", "monitoring_rota", "monitoring_incidentdefinition",
)  # fmt: skip


def applied(text: str, *, by: Actor = BY) -> Outcome:
    return applying.apply(applying.read(reading.from_text(text)), by=by)


def exported(*, by: Actor = BY, environment: str | None = None) -> str:
    return applying.as_yaml(*applying.export(Scope(by, environment)))


def left_out(*, environment: str | None = None) -> list[str]:
    return applying.export(Scope(BY, environment))[1]


def does(outcome: Outcome) -> dict[str, str]:
    return {change.path: change.does for change in outcome.changes}


def emptied() -> None:
    """As a portal is before anybody has said anything; revisions and plans are never deleted otherwise."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute(f"TRUNCATE {', '.join(TABLES)} CASCADE")
    catching.built_in()
