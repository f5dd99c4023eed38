"""Who wants which report: taking one, changing it, ending it."""

from collections.abc import Mapping
from datetime import time
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from monitoring.actions import reports
from monitoring.models import NotificationPreference, ReportSubscription
from monitoring.models.reports import Period
from portal import audit, jobs, live, permissions
from portal.audit import Actor
from portal.errors import Invalid, Refused
from portal.models import Environment, Service, User

FIELDS = ("period", "services", "environment", "at", "weekday", "zone", "by_mail")
MOST = 20  # of one person


def create(person: User, fields: Mapping[str, Any], *, by: Actor) -> ReportSubscription:
    """Without a zone it is the one in which the person is told of other things, or else the portal's."""
    reports.require(by, person)
    with transaction.atomic():
        User.objects.select_for_update(no_key=True).get(pk=person.pk)
        if ReportSubscription.objects.active().filter(person=person).count() >= MOST:
            raise Refused(f"{person} has {MOST} subscriptions already")
        made = ReportSubscription(person=person, zone=usual_zone(person), created_by=audit.describe(by)[:200])
        services = _write(made, fields)
        made.due_at = reports.next_due(made, after=jobs.database_now())
        made.save()
        made.services.set(services)
        audit.record("report_subscription.created", made, by=by, after=shown(made))
        live.announce("reports")
    return made


def change(subscription: ReportSubscription, fields: Mapping[str, Any], *, by: Actor) -> ReportSubscription:
    """Only the fields given."""
    with transaction.atomic():
        subscription = _lock(subscription, by)
        before = shown(subscription)
        services = _write(subscription, fields)
        subscription.due_at = reports.next_due(subscription, after=jobs.database_now())
        subscription.save()
        subscription.services.set(services)
        after = shown(subscription)
        if after != before:
            audit.record("report_subscription.changed", subscription, by=by, before=before, after=after)
            live.announce("reports")
    return subscription


def delete(subscription: ReportSubscription, *, by: Actor, because: str = "") -> None:
    """No more reports of it; those that were made stay."""
    with transaction.atomic():
        subscription = _lock(subscription, by)
        subscription.active = False
        subscription.save(update_fields=["active"])
        audit.record("report_subscription.ended", subscription, by=by, before=shown(subscription), because=because)
        live.announce("reports")


def shown(subscription: ReportSubscription) -> dict[str, Any]:
    """Its fields as plain values."""
    return {
        "period": subscription.period,
        "services": sorted(one.key for one in subscription.services.all()) if subscription.pk else [],
        "environment": subscription.environment.key if subscription.environment else "",
        "at": subscription.at.strftime("%H:%M"),
        "weekday": subscription.weekday,
        "zone": subscription.zone,
        "by_mail": subscription.by_mail,
    }


def visible(by: Actor) -> "QuerySet[ReportSubscription]":
    """One's own; all of them for who administers everywhere."""
    rows = ReportSubscription.objects.active().select_related("person", "environment").prefetch_related("services")
    if permissions.can(by, "administer"):
        return rows
    return rows.filter(person=by) if isinstance(by, User) else rows.none()


def usual_zone(person: User) -> str:
    found = NotificationPreference.objects.filter(user=person).values_list("zone", flat=True).first()
    return found or settings.PORTAL_ZONE


def _write(subscription: ReportSubscription, fields: Mapping[str, Any]) -> list[Service]:
    """The fields into the row. Raises Invalid with every field that is wrong; the services are set once it is kept."""
    faults = {str(name): "unknown field" for name in fields if name not in FIELDS}
    for name in ("period", "at", "weekday", "zone", "by_mail"):
        if fields.get(name) is not None:
            setattr(subscription, name, fields[name])
    if subscription.period not in Period.values:
        faults["period"] = f"must be {' or '.join(Period.values)}"
    at: Any = subscription.at
    if not isinstance(at, time):
        faults["at"] = "must be a time of the day, as 08:00"
    if isinstance(subscription.weekday, bool) or subscription.weekday not in range(7):
        faults["weekday"] = "must be from 0 (Monday) to 6"
    try:
        ZoneInfo(subscription.zone)
    except (KeyError, ValueError, OSError, TypeError):
        faults["zone"] = "is no zone of the IANA database, such as Europe/Warsaw"
    person = subscription.person
    if "environment" in fields:
        subscription.environment = _environment(fields["environment"], person, faults)
    asked = fields.get("services")
    if asked is None:
        services = list(subscription.services.all()) if subscription.pk else []
    else:
        services = _services(asked, person, faults)
    if faults:
        raise Invalid(faults)
    return services


def _environment(given: Any, person: User, faults: dict[str, str]) -> Environment | None:
    if given in (None, ""):
        return None
    found = given if isinstance(given, Environment) else Environment.objects.filter(key=str(given)).first()
    if found is None or not permissions.can(person, "view", environment=found, service=permissions.ANY):
        faults["environment"] = f"no environment named '{given}' that {person} may see"[:200]
    return found


def _services(given: Any, person: User, faults: dict[str, str]) -> list[Service]:
    keys = [one.key if isinstance(one, Service) else str(one) for one in given]
    seen = {one.key: one for one in reports.visible_services(person)}
    if missing := [key for key in keys if key not in seen]:
        faults["services"] = f"no service named '{missing[0]}' that {person} may see"[:200]
    return [seen[key] for key in dict.fromkeys(keys) if key in seen]


def _lock(subscription: ReportSubscription, by: Actor) -> ReportSubscription:
    reports.require(by, subscription.person)
    rows = ReportSubscription.objects.active().select_related("person", "environment")
    found = rows.select_for_update(of=("self",)).filter(pk=subscription.pk).first()
    if found is None:
        raise Refused("this subscription has ended")
    return found
