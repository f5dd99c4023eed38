"""What is done to plans: each change is a new version, and takes with it every deployment that has not begun."""

import hashlib
import json
from collections.abc import Collection, Mapping
from typing import Any

from django.core.exceptions import ValidationError
from django.db import connection, transaction

from portal import audit, jobs, live, permissions
from portal.audit import Actor
from portal.errors import Invalid, Stale
from portal.models import User
from rollouts.actions import plan_content
from rollouts.models import Deployment, Plan


def write(
    name: str, content: Mapping[str, Any], *, by: Actor, expected_hashes: Collection[str] | None = None
) -> tuple[Plan, bool]:
    """The plan of this name with this content, and whether that made a new version. Stale when it is none expected.

    Writing what is there already changes nothing, so nobody becomes an editor by a save without an edit.
    """
    permissions.require(by, "configure", environment=permissions.ANY, service=permissions.ANY)
    try:
        Plan._meta.get_field("name").clean(name, None)
    except ValidationError as mistake:
        raise Invalid.of("name", "; ".join(mistake.messages)) from None
    cleaned = plan_content.clean(content)
    digest = content_hash(cleaned)
    with transaction.atomic():
        one_writer(name)
        newest = Plan.objects.filter(name=name, current=True).first()
        if expected_hashes is not None and (newest is None or newest.hash not in expected_hashes):
            raise Stale(f"plan {name} is not the one you have seen: it is {newest.hash if newest else 'not there'} now")
        if newest is not None and newest.hash == digest:
            return newest, False
        if newest is not None:
            newest.current = False
            newest.save(update_fields=["current"])
        plan = Plan.objects.create(
            name=name,
            version=newest.version + 1 if newest else 1,
            hash=digest,
            content=cleaned,
            author=by if isinstance(by, User) else None,
            author_name=audit.describe(by),
        )
        plan.refresh_from_db()
        audit.record(
            "plan.changed" if newest else "plan.created",
            plan,
            by=by,
            before={"hash": newest.hash, "content": newest.content} if newest else None,
            after={"hash": digest, "content": cleaned},
        )
        _carry_over(plan, by=by)
        live.announce("plans", id=plan.pk)
    return plan, True


def content_hash(content: Mapping[str, Any]) -> str:
    """SHA-256 of the content as canonical JSON: order of keys and white space do not count."""
    return hashlib.sha256(
        json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    ).hexdigest()


def _carry_over(plan: Plan, *, by: Actor) -> None:
    """Deployments that have not begun follow the plan; the votes cast on its older hash count no more."""
    waiting = Deployment.objects.not_begun().filter(plan__name=plan.name).select_for_update(of=("self",))
    for deployment in waiting.order_by("id"):
        before = {"plan": deployment.plan_id, "plan_hash": deployment.plan_hash}
        deployment.plan, deployment.plan_hash = plan, plan.hash
        if deployment.status == Deployment.Status.SCHEDULED:
            # Its approval is void: the sweep asks for a new one.
            deployment.due_at = jobs.database_now()
        deployment.save(update_fields=["plan", "plan_hash", "due_at"])
        audit.record(
            "deployment.plan_changed",
            deployment,
            by=by,
            before=before,
            after={"plan": plan.pk, "plan_hash": plan.hash},
            because=f"{plan} replaces the version it was going to follow; earlier votes do not count",
        )
        live.announce("deployments", id=deployment.pk)


def one_writer(name: str) -> None:
    """Two people who write the same plan at once get two versions, one after the other."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"plan {name}"])
