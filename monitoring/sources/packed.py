"""Bodies that came packed: opened only as far as they may grow."""

import zlib
from typing import Final

import cramjam

from monitoring.sources.wire import Malformed, TooLarge

MAX_DECODED: Final = 16 * 1024 * 1024  # bytes
# zlib's window bits: gzip or zlib, whichever the first bytes say.
EITHER: Final = 47


class UnknownEncoding(Exception):
    """A Content-Encoding that we do not open."""


def unpack(body: bytes, encoding: str) -> bytes:
    """The body by its Content-Encoding (gzip, deflate, br, none), never more of it than it may grow to.

    Raises TooLarge, Malformed, UnknownEncoding.
    """
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        raw = body
    elif encoding in ("gzip", "x-gzip", "deflate"):
        raw = _inflate(body)
    elif encoding == "br":
        raw = _brotli(body)
    else:
        raise UnknownEncoding(f"send gzip, deflate, br or no Content-Encoding, not '{encoding[:50]}'")
    if len(raw) > MAX_DECODED:
        raise TooLarge(f"the body unpacks to more than {MAX_DECODED} bytes")
    return raw


def _brotli(body: bytes) -> bytes:
    """Into a buffer that is as large as it may grow: what does not fit stops there."""
    made = bytearray(MAX_DECODED + 1)
    try:
        size = cramjam.brotli.decompress_into(body, made)
    except cramjam.DecompressionError as error:
        if "whole buffer" in str(error):
            raise TooLarge(f"the body unpacks to more than {MAX_DECODED} bytes") from None
        raise Malformed(f"the body is not packed as it says: {error}") from None
    return bytes(memoryview(made)[:size])


def _inflate(body: bytes) -> bytes:
    made = zlib.decompressobj(EITHER)
    try:
        raw = made.decompress(body, MAX_DECODED + 1)
    except zlib.error as error:
        raise Malformed(f"the body is not packed as it says: {error}") from None
    if len(raw) <= MAX_DECODED and not made.eof:
        raise Malformed("the packed body has no end")
    return raw
