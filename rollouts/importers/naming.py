"""Names of elsewhere as keys of here: as they are where they fit, otherwise as near as may be, always the same."""

import re
import unicodedata
from hashlib import sha256

from rollouts.engine.reading import KEY

LONGEST = 100


def key_of(name: str, fallback: str = "flag") -> str:
    """The name itself, or its letters with a mark of the whole name, so that no two names meet."""
    if KEY.match(name):
        return name
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    letters = re.sub(r"[^A-Za-z0-9._-]+", "-", plain).strip("-._")[:LONGEST] or fallback
    return f"{letters}-{sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:6]}"


class Keys:
    """Keys within one flag or document: each name has one, and no two names the same."""

    def __init__(self, fallback: str, taken: tuple[str, ...] = ()) -> None:
        self.fallback, self.taken = fallback, set(taken)
        self.of: dict[str, str] = {}

    def __call__(self, name: str) -> str:
        if name not in self.of:
            key, n = key_of(name, self.fallback), 2
            while key in self.taken:
                key, n = f"{key_of(name, self.fallback)}-{n}", n + 1
            self.taken.add(key)
            self.of[name] = key
        return self.of[name]
