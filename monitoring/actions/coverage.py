"""Saying of a signal that it does not concern a service, and taking that back."""

from django.db import IntegrityError, transaction

from monitoring.coverage import Signal
from monitoring.models import CoverageWaiver
from portal import audit, live, permissions
from portal.audit import Actor
from portal.errors import Invalid, Refused
from portal.models import Environment, Service

LONGEST_REASON = 2000


def waive(service: Service, environment: Environment | None, signal: str, *, by: Actor, because: str) -> CoverageWaiver:
    """It counts as no gap from now on; the reason stands beside it."""
    permissions.require(by, "configure", environment=environment, service=service)
    if signal not in list(Signal):
        raise Invalid.of("signal", f"must be one of {', '.join(Signal)}")
    because = because.strip()
    if not because or len(because) > LONGEST_REASON or "\0" in because:
        raise Invalid.of("because", f"say why, in at most {LONGEST_REASON} characters")
    made = CoverageWaiver(
        service=service, environment=environment, signal=signal, because=because, created_by=audit.describe(by)[:200]
    )
    try:
        with transaction.atomic():
            made.save(force_insert=True)
            audit.record("coverage.waived", made, by=by, after={"signal": signal}, because=because)
            live.announce("thresholds")
    except IntegrityError:
        raise Refused(f"{made} is waived already") from None
    return CoverageWaiver.objects.select_related("service", "environment").get(pk=made.pk)


def unwaive(waiver: CoverageWaiver, *, by: Actor, because: str = "") -> None:
    """It counts again."""
    permissions.require(by, "configure", environment=waiver.environment, service=waiver.service)
    with transaction.atomic():
        audit.record("coverage.unwaived", waiver, by=by, before={"signal": waiver.signal}, because=because)
        live.announce("thresholds")
        waiver.delete()
