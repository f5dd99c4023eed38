"""The hashes of other systems, bit for bit: murmur3, FNV-1a, SHA-1 to a fraction, and CBOR of plain values."""

from collections.abc import Sequence
from hashlib import sha1
from struct import pack, unpack
from typing import Any

import mmh3

_32 = 0xFFFFFFFF
_FNV_PRIME = 0x01000193
_FNV_BASIS = 0x811C9DC5
_LARGEST_15_DIGITS = float(0xFFFFFFFFFFFFFFF)


def murmur3(data: bytes, seed: int = 0) -> int:
    """MurmurHash3 x86 32."""
    return int(mmh3.hash(data, seed, signed=False))


def fnv1a(text: str) -> int:
    """FNV-1a 32 over UTF-16 code units, as JavaScript counts them."""
    held = _FNV_BASIS
    data = text.encode("utf-16-le", "surrogatepass")
    for low, high in zip(data[::2], data[1::2], strict=True):
        held = ((held ^ (low | (high << 8))) * _FNV_PRIME) & _32
    return held


def sha1_fraction(text: str) -> float:
    """The first 15 hexadecimal digits of SHA-1, as a part of the largest such number."""
    return int(sha1(text.encode("utf-8", "surrogatepass")).hexdigest()[:15], 16) / _LARGEST_15_DIGITS


def cbor(value: Any) -> bytes:
    """Canonical CBOR (RFC 8949) of texts, numbers, truths and lists of them."""
    kind = type(value)
    if kind is bool:
        return b"\xf5" if value else b"\xf4"
    if kind is float and value.is_integer() and -(2**63) <= value < 2**64:
        value, kind = int(value), int
    if kind is int:
        return _head(0, value) if value >= 0 else _head(1, -1 - value)
    if kind is float:
        return _shortest_float(value)
    if kind is str:
        data = value.encode("utf-8", "surrogatepass")
        return _head(3, len(data)) + data
    if isinstance(value, Sequence):
        return _head(4, len(value)) + b"".join(cbor(one) for one in value)
    return b"\xf6"


def _head(major: int, number: int) -> bytes:
    if number < 24:
        return bytes([major << 5 | number])
    for code, length in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if number < 1 << 8 * length:
            return bytes([major << 5 | code]) + number.to_bytes(length, "big")
    raise ValueError("a number beyond 64 bits")


def _shortest_float(value: float) -> bytes:
    """The shortest of the three widths that keeps the value."""
    for code, form in ((0xF9, ">e"), (0xFA, ">f")):
        try:
            data = pack(form, value)
        except OverflowError:
            continue
        if unpack(form, data)[0] == value:
            return bytes([code]) + data
    return b"\xfb" + pack(">d", value)
