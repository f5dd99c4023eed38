"""The algorithm r1 once more, written from its description alone: nothing of the portal is imported here."""

import math
from hashlib import sha256


def head(text: str) -> int:
    """The first eight bytes of the digest, as a whole number."""
    return int.from_bytes(sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "big")


def bucket(salt: str, rule: str | None, unit: str) -> int:
    """0…99 999; a unit is in when it is below the rollout in thousandths of a percent."""
    named = "" if rule is None else f"{rule}|"
    return head(f"{salt}|rollout|{named}{unit}") * 100_000 // 2**64


def variant(salt: str, weights: dict[str, int], unit: str) -> str:
    """The highest of weight / -ln(u), u being the upper 53 bits of the hash as a fraction; of equals the first key."""
    scores = {}
    for key in sorted(weights):
        u = (head(f"{salt}|{key}|{unit}") >> 11) / 2**53
        scores[key] = weights[key] / -math.log(u) if u else 0.0
    return max(scores, key=lambda key: scores[key])
