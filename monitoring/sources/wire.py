"""Looking at bytes from outside before anything is allocated for them."""

from collections.abc import Iterator

# As many bytes as a varint of 64 bits may have.
LONGEST_VARINT = 10


class TooLarge(Exception):
    """More than is taken at once."""


class Malformed(Exception):
    """These bytes do not say what they claim."""


def varint(raw: bytes, at: int) -> tuple[int, int]:
    """The number that stands at a position, and the position behind it."""
    if at < len(raw) and raw[at] < 0x80:  # nearly all of them
        return raw[at], at + 1
    value = shift = 0
    for place in range(at, min(at + LONGEST_VARINT, len(raw))):
        byte = raw[place]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place + 1
        shift += 7
    raise Malformed("a number has no end")


def chunks(raw: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """The fields of a protobuf message between two positions: (field number, start, end of its content)."""
    at = start
    while at < end:
        tag, at = varint(raw, at)
        kind = tag & 7
        if kind == 2:
            length, at = varint(raw, at)
            behind = at + length
        elif kind == 0:
            _, behind = varint(raw, at)
        elif kind in (1, 5):
            behind = at + (8 if kind == 1 else 4)
        else:
            raise Malformed(f"no field is of wire type {kind}")
        if behind > end:
            raise Malformed("a field is longer than the message")
        yield tag >> 3, at, behind
        at = behind
