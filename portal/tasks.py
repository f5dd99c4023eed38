"""The kernel's sweeps."""

from portal import audit, jobs


@jobs.sweep("portal.seal_audit", every=1.0)
def seal_audit() -> int:
    return audit.seal()
