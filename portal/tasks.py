"""The kernel's sweeps."""

import httpx
import structlog
from django.conf import settings

from portal import audit, jobs, outgoing

log = structlog.get_logger(__name__)

TELL_ALIVE = "portal.tell_alive"
TOLD_WITHIN = 5.0  # seconds


@jobs.sweep("portal.seal_audit", every=1.0)
def seal_audit() -> int:
    return audit.seal()


@jobs.sweep(TELL_ALIVE, every=30.0)
def tell_alive() -> int:
    """Call the dead man's switch, but only when every other sweep is well: silence is what is heard."""
    if not settings.PORTAL_ALIVE_URL:
        return 0
    stale = [name for name in jobs.stale_sweeps(jobs.database_now()) if name != TELL_ALIVE]
    if stale:
        log.warning("alive.not_told", stale=stale)
        return 0
    try:
        answer = outgoing.post(settings.PORTAL_ALIVE_URL, content=b"", headers={}, timeout=TOLD_WITHIN)
    except (outgoing.Blocked, httpx.HTTPError) as error:
        log.warning("alive.not_told", error=str(error))
        return 0
    if answer.is_error:
        log.warning("alive.not_told", status=answer.status_code)
        return 0
    return 1
