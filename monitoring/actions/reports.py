"""Making reports: for each subscription when it is due, once for each period, by letter and as a page."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet, prefetch_related_objects
from django.urls import reverse

from monitoring import sections
from monitoring.actions import notices, outbox
from monitoring.models import Report, ReportSubscription
from monitoring.models.reports import Period
from monitoring.sections import Scope
from portal import audit, jobs, live, permissions
from portal.audit import Actor, Automaton
from portal.errors import Refused
from portal.models import Environment, Service, User

log = structlog.get_logger(__name__)

BY = Automaton("reports")
KINDS = {Period.DAILY: "report.daily", Period.WEEKLY: "report.weekly"}
DAYS = {Period.DAILY: 1, Period.WEEKLY: 7}
# After an outage a letter that comes later than this says nothing new: the page is there all the same.
MAILED_WITHIN = timedelta(days=2)
MOST = 100  # in one cycle
AGAIN_AFTER = timedelta(minutes=10)


def send_due(*, now: datetime | None = None) -> int:
    """Make every report that is due. How many were."""
    done = 0
    while done < MOST and _send_one(now):
        done += 1
    return done


def _send_one(now: datetime | None) -> bool:
    with transaction.atomic():
        at = now or jobs.database_now()
        due = ReportSubscription.objects.active().filter(due_at__lte=at, person__is_active=True).order_by("due_at")
        subscription = jobs.claim(due.select_related("person", "environment"))
        if subscription is None:
            return False
        until = period_before(subscription, subscription.due_at)[1]
        try:
            with transaction.atomic():
                report = make(subscription, until=until, now=at)
                seen = visible(subscription.person).filter(pk=report.pk).exists()  # it may have been made before
                if seen and subscription.by_mail and at - subscription.due_at < MAILED_WITHIN:
                    _mail(report)
        except Exception:
            # One that cannot be made must not keep the others from theirs; it is tried again.
            log.exception("reports.failed", subscription=subscription.pk)
            ReportSubscription.objects.filter(pk=subscription.pk).update(due_at=at + AGAIN_AFTER)
            return True
        subscription.due_at = next_due(subscription, after=max(subscription.due_at, at - _span(subscription)))
        subscription.save(update_fields=["due_at"])
        return True


def make(subscription: ReportSubscription, *, until: datetime, now: datetime) -> Report:
    """The report of the period that ends then; the one that is there already, if it is."""
    found = Report.objects.filter(subscription=subscription, until=until).first()
    if found is not None:
        return found
    zone = ZoneInfo(subscription.zone)
    since = _midnight(until.astimezone(zone).date() - timedelta(days=DAYS[Period(subscription.period)]), zone)
    person = subscription.person
    scope = Scope(
        person,
        services_of(subscription),
        subscription.environment,
        since,
        until,
        zone,
        now,
        _previous(subscription, until),
    )
    told = []
    for key, teller in sections.known():
        section = teller(scope)
        if section is not None:
            told.append({"key": key, **section.plain()})
    content = {
        "title": f"{'Day' if subscription.period == Period.DAILY else 'Week'} of {_days(scope)}",
        "environment": subscription.environment.key if subscription.environment else "",
        "sections": told,
    }
    # As it will be read again: a tuple is a list, a key is a text.
    content = json.loads(json.dumps(content))
    with transaction.atomic():
        report = Report.objects.create(
            subscription=subscription,
            person=person,
            period=subscription.period,
            since=since,
            until=until,
            zone=subscription.zone,
            services=[one.key for one in scope.services],
            places=_places(person, scope.services, scope.environment),
            content=content,
            sha256=hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest(),
        )
        audit.record("report.made", report, by=BY, after={"sha256": report.sha256, "services": report.services})
        live.announce("reports", id=report.pk)
    return report


def make_now(subscription: ReportSubscription, *, by: Actor) -> Report:
    """The report of the last whole period, as a page; its letter comes at its time."""
    require(by, subscription.person)
    now = jobs.database_now()
    with transaction.atomic():
        rows = ReportSubscription.objects.active().select_related("person", "environment")
        locked = rows.select_for_update(of=("self",)).filter(pk=subscription.pk).first()
        if locked is None:
            raise Refused("this subscription has ended")
        made = make(locked, until=period_before(locked, now)[1], now=now)
        if not visible(by).filter(pk=made.pk).exists():
            raise Refused("it is made already, and tells of places that may not be seen any more")
        return made


def require(by: Actor, person: User) -> None:
    """Everybody for themselves; who administers, for others."""
    if by != person:
        permissions.require(by, "administer")


def services_of(subscription: ReportSubscription) -> list[Service]:
    """Those that were asked for and that the person may see now."""
    seen = visible_services(subscription.person, subscription.environment)
    asked = set(subscription.services.values_list("pk", flat=True))
    return [one for one in seen if not asked or one.pk in asked]


def visible_services(person: User, environment: Any = None) -> list[Service]:
    """The services of which the person may view something: in this environment, or in any."""
    prefetch_related_objects([person], "grants")
    where = environment if environment is not None else permissions.ANY
    return [one for one in Service.objects.all() if permissions.can(person, "view", environment=where, service=one)]


def visible(by: Actor) -> "QuerySet[Report]":
    """One's own, as long as one may still see everything that it may tell of; all of them for who administers."""
    rows = Report.objects.select_related("person")
    if permissions.can(by, "administer"):
        return rows
    if not isinstance(by, User):
        return rows.none()
    seen = visible_services(by)
    rows = rows.filter(person=by, services__contained_by=[one.key for one in seen])
    # Who sees every place sees those of reports that were made before places were kept, too.
    return rows if permissions.can(by, "view") else rows.filter(places__contained_by=_places(by, seen, None))


def _places(person: User, services: Sequence[Service], only: Environment | None) -> dict[str, list[str]]:
    """By environment those of the services that the person may view there."""
    prefetch_related_objects([person], "grants")
    found = {}
    for place in [only] if only is not None else Environment.objects.all():
        keys = [one.key for one in services if permissions.can(person, "view", environment=place, service=one)]
        if keys:
            found[place.key] = keys
    return found


def period_before(subscription: ReportSubscription, at: datetime) -> tuple[datetime, datetime]:
    """The last whole day, or week from Monday on, before this moment; by the wall clock of the zone."""
    zone = ZoneInfo(subscription.zone)
    end = at.astimezone(zone).date()
    if subscription.period == Period.WEEKLY:
        end -= timedelta(days=end.weekday())
    return _midnight(end - timedelta(days=DAYS[Period(subscription.period)]), zone), _midnight(end, zone)


def next_due(subscription: ReportSubscription, *, after: datetime) -> datetime:
    """The first moment after this one at which it is due. A time that a night leaves out is due right after it."""
    zone = ZoneInfo(subscription.zone)
    day = after.astimezone(zone).date() - timedelta(days=1)
    while True:
        at = datetime.combine(day, subscription.at, tzinfo=zone)
        fits = subscription.period == Period.DAILY or day.weekday() == subscription.weekday
        if fits and at > after:
            return at
        day += timedelta(days=1)


def _span(subscription: ReportSubscription) -> timedelta:
    """What was missed for longer than a week, or a month of weeks, is not made up for."""
    return 7 * timedelta(days=DAYS[Period(subscription.period)])


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(0), tzinfo=zone)


def _previous(subscription: ReportSubscription, until: datetime) -> Mapping[str, Mapping[str, Any]]:
    last = Report.objects.filter(subscription=subscription, until__lt=until).first()
    if last is None:
        return {}
    return {one["key"]: one.get("data", {}) for one in last.content["sections"]}


def _days(scope: Scope) -> str:
    first = scope.since.astimezone(scope.zone)
    last = scope.until.astimezone(scope.zone) - timedelta(days=1)
    if last.date() <= first.date():
        return f"{first:%d %B %Y}"
    return f"{first:%d %B} to {last:%d %B %Y}"


def _mail(report: Report) -> None:
    """To the mailbox of its person, once: the key is the report's and the channel's."""
    channel = notices.mailbox(report.person)
    if channel is None:
        return
    kind = KINDS[Period(report.period)]
    key = f"{kind}:{report.subscription_id}:{report.until.astimezone(UTC):%Y%m%dT%H%MZ}:{channel.pk}"
    payload = {
        "id": key,
        "kind": kind,
        "text": f"Flightdeck: {report.content['title']}",
        "report": report.pk,
        "url": settings.PORTAL_BASE_URL + reverse("report", args=[report.pk]),
        "zone": report.zone,
        "services": report.services,
        "content": report.content,
    }
    outbox.put(channel, kind, payload, dedupe_key=key)
