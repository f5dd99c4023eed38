"""What pages may watch of flags, releases and deployments, and who."""

from typing import Any

from django.db.models import QuerySet

from portal import live, permissions
from portal.models import User
from rollouts.models import ChangeRequest, Deployment, Flag, FlagConfig, Plan, Release
from rollouts.queries import uses
from rollouts.views import charts, usage_charts


def _may_deployment(person: User, what: str | None) -> bool:
    return _one(permissions.visible(person, Deployment.objects.all()), person, what)


def _may_flag(person: User, what: str | None) -> bool:
    return _one(permissions.visible(person, Flag.objects.all(), environment=None), person, what)


def _may_release(person: User, what: str | None) -> bool:
    return _one(permissions.visible(person, Release.objects.all(), environment=None), person, what)


def _may_plan(person: User, what: str | None) -> bool:
    return _one(Plan.objects.all(), person, what)


def _may_change_request(person: User, what: str | None) -> bool:
    return _one(uses.requests_seen(person, ChangeRequest.objects.all()), person, what)


def _one(rows: "QuerySet[Any]", person: User, what: str | None) -> bool:
    """All of them, or the one with this id: only those who see anything, and see that one."""
    if not permissions.can(person, "view", environment=permissions.ANY, service=permissions.ANY):
        return False
    return what is None or rows.filter(pk=int(what)).exists()


def _frame(what: str) -> dict[str, Any]:
    rows = Deployment.objects.select_related("release", "environment").prefetch_related("flags__flag")
    return charts.tail(rows.get(pk=int(what)))


def _may_flag_use(person: User, what: str | None) -> bool:
    """The id is that of what the flag does in an environment."""
    rows = FlagConfig.objects.select_related("flag__service", "environment")
    config = rows.filter(pk=int(what)).first() if what is not None else None
    if config is None or not _may_flag(person, str(config.flag_id)):
        return False
    service = config.flag.service or permissions.ANY
    return permissions.can(person, "view", environment=config.environment, service=service)


def _flag_use_frame(what: str) -> dict[str, Any]:
    return usage_charts.tail(FlagConfig.objects.select_related("flag", "environment").get(pk=int(what)))


live.topic("deployments", may=_may_deployment)
live.topic("flags", may=_may_flag)
live.topic("change-requests", may=_may_change_request)
live.topic("releases", may=_may_release)
live.topic("plans", may=_may_plan)
live.chart("deployment", may=_may_deployment, frame=_frame)
live.chart("flag-use", may=_may_flag_use, frame=_flag_use_frame)
