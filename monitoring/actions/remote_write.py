"""Taking what a Prometheus writes: what it says of its metrics, its samples, and which series have ended."""

from monitoring.actions import families, metrics, plain, rejections, staleness
from monitoring.actions.batches import Batch, Fault, Recorded, authorise
from monitoring.sources import remote_write
from monitoring.sources.remote_write import Packed, Written
from portal.audit import Actor


def take(packed: Packed, *, by: Actor) -> tuple[Recorded, Written]:
    """Keep all that is good. The same request again changes nothing, so a sender may repeat it after any failure.

    What became of it, and what of it was read: not the series that were known by their bytes. The indices of the
    faults are places among the request's series. Raises TooLarge, Malformed or Forbidden, before
    anything is kept.
    """
    batch = Batch.begin(by, now=None)
    known = plain.split(packed.series, batch.times, batch.default_environment)
    written = remote_write.read(packed, known.rest, beside=len(known.places))
    if packed.families:
        # A request that is refused keeps nothing, and the types are needed before the first samples.
        authorise([one["labels"] for one in written.samples] + [one.labels for one in known.known], by=by)
        families.describe(packed.families, by=by)
    recorded = metrics.take(batch, written.samples, known, places=written.series)
    if written.ended:
        staleness.end(written.ended, by=by)
    read = dict(zip(written.series, written.samples, strict=True))
    plain.learn({place: packed.series[place] for place in read}, read, batch.default_environment)
    faults = [*recorded.errors, *(Fault(one.index, one.field, one.message) for one in written.wrong)]
    recorded.errors = sorted(faults, key=lambda fault: fault.index)
    recorded.rejected += sum(one.samples for one in written.wrong)
    return rejections.noted("remote_write", recorded, by=by), written
