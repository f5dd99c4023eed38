"""Taking what a Prometheus writes: what it says of its metrics, its samples, and which series have ended."""

from dataclasses import replace

from monitoring.actions import families, metrics, rejections, staleness
from monitoring.actions.batches import Fault, Recorded
from monitoring.sources.remote_write import Written
from portal.audit import Actor


def take(written: Written, *, by: Actor) -> Recorded:
    """Keep all that is good. The same request again changes nothing, so a sender may repeat it after any failure.

    The indices of the faults are places among the request's series.
    """
    if written.families:
        families.describe(written.families, by=by)
    recorded = metrics.record(written.samples, by=by)
    if written.ended:
        staleness.end(written.ended, by=by)
    faults = [replace(fault, index=written.series[fault.index]) for fault in recorded.errors]
    faults += [Fault(one.index, one.field, one.message) for one in written.wrong]
    recorded.errors = sorted(faults, key=lambda fault: fault.index)
    recorded.rejected += sum(one.samples for one in written.wrong)
    return rejections.noted("remote_write", recorded, by=by)
