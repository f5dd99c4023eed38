"""The plain samples of a request: series that this process knows by their bytes, each with one number.

Nearly all that a Prometheus writes is of this kind: the same bytes of labels as a minute ago, then another number and
another time. Their labels are not read again. Whatever is not just so takes the way of all other samples.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import numpy as np

from monitoring.actions import incoming, samples, series
from monitoring.actions.incoming import Times
from monitoring.actions.samples import NOTHING, Columns
from monitoring.actions.series import Known
from monitoring.sources import remote_write

# A sample as it is nearly always written, behind the labels: field 2 of 16 bytes; in it the value, and a time of six
# bytes (from 1971 to 2109). A value of zero is left out.
TAIL: Final = np.dtype([("begins", "u1", 3), ("value", "<f8"), ("tag", "u1"), ("time", "u1", 6)])
BEGINS: Final = b"\x12\x10\x09"
BEGINS_ZERO: Final = b"\x12\x07\x10"
ZERO: Final = BEGINS + bytes(8)
TIME_TAG: Final = 0x10
LONG, SHORT = TAIL.itemsize, 9


@dataclass(slots=True, eq=False)
class Plain:
    """Good samples of known series, in the order of the request; `rest`: places in it that have to be read."""

    known: list[Known] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    columns: Columns = NOTHING
    rest: Sequence[int] = ()

    def unheard(self) -> list[tuple[Known, datetime, float | None]]:
        """The last sample of each series of which it is time to note that it was heard of."""
        if not self.known:
            return []
        micros = self.columns.micros
        edge = int(micros.max()) / 1e6 - series.HEARD_EVERY
        late = [place for place, one in enumerate(self.known) if one.heard <= edge]
        latest: dict[int, int] = {}
        for place in late:
            before = latest.setdefault(self.known[place].id, place)
            if micros[before] < micros[place]:
                latest[self.known[place].id] = place
        return [
            (self.known[place], samples.moment(int(micros[place])), float(self.columns.values[place]))
            for place in latest.values()
        ]

    def times(self) -> list[datetime]:
        return [samples.moment(micros) for micros in self.columns.micros.tolist()]


NONE = Plain()


def split(blobs: Sequence[bytes], times: Times, environment: str | None) -> Plain:
    """Tell the plain samples from the rest. `environment` is what the caller's key adds to labels that name none."""
    prefix, young, get = _prefix(environment), series.by_bytes.young, series.by_bytes.get
    found = [young.get(prefix + blob[:-LONG]) for blob in blobs]
    tails = [blob[-LONG:] for blob in blobs]
    if None in found:
        for place, one in enumerate(found):
            if one is None:
                head, tail = _parted(blobs[place])
                found[place], tails[place] = (get(prefix + head) if head else None), tail
    places = [place for place, one in enumerate(found) if one is not None]
    known = [one for one in found if one is not None]
    if not known:
        return Plain(rest=range(len(blobs)))
    read = np.frombuffer(b"".join([tails[place] for place in places]), TAIL)
    values, digits = np.array(read["value"]), read["time"].astype(np.int64)
    micros = (digits & 0x7F) @ (1 << 7 * np.arange(6, dtype=np.int64)) * 1000
    good = (read["begins"] == np.frombuffer(BEGINS, "u1")).all(1) & (read["tag"] == TIME_TAG)
    good &= (digits[:, :5] >= 0x80).all(1) & (digits[:, 5] < 0x80)
    good &= np.isfinite(values)
    good &= (micros <= samples.micros_of(times.newest)) & (micros >= samples.micros_of(times.oldest))
    if not good.all():
        keep = np.flatnonzero(good).tolist()
        known, places = [known[one] for one in keep], [places[one] for one in keep]
        micros, values = micros[good], values[good]
    values[np.abs(values) < incoming.TINY] = 0.0
    ids = np.fromiter((one.id for one in known), np.int64, len(known))
    taken = set(places)
    rest = [place for place in range(len(blobs)) if place not in taken] if len(places) < len(blobs) else []
    return Plain(known, places, Columns(ids, micros, values), rest)


def learn(blobs: Mapping[int, bytes], labels: Mapping[int, Mapping[str, Any]], environment: str | None) -> None:
    """Know these series by their bytes from now on. `labels`: as they were read, the metric's name at its place."""
    for place, blob in blobs.items():
        head, _ = _parted(blob)
        one = labels.get(place)
        if not head or one is None or not remote_write.is_all_labels(head):
            continue
        known = series.memory.get((one["metric"], tuple(one["labels"].items()), environment))
        if known is not None:
            series.by_bytes.put(_prefix(environment) + head, known)


def without(plain: Plain, ids: Collection[int]) -> Plain:
    """The same without these series."""
    keep = [place for place, one in enumerate(plain.known) if one.id not in ids]
    columns = Columns(plain.columns.series[keep], plain.columns.micros[keep], plain.columns.values[keep])
    return Plain([plain.known[one] for one in keep], [plain.places[one] for one in keep], columns, plain.rest)


def _prefix(environment: str | None) -> bytes:
    """The same bytes from keys that add different environments are different series."""
    return b"" if environment is None else environment.encode() + b"\0"


def _parted(blob: bytes) -> tuple[bytes, bytes]:
    """The labels and the sample, where they are told apart at sight; else nothing, and any bytes."""
    if blob[-LONG : 3 - LONG] == BEGINS and blob[-7] == TIME_TAG:
        return blob[:-LONG], blob[-LONG:]
    if blob[-SHORT : 3 - SHORT] == BEGINS_ZERO:
        return blob[:-SHORT], ZERO + blob[-7:]
    return b"", b""
