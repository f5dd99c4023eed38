"""How many requests a second one caller may make, counted in this process's memory."""

import math
import time
from collections import OrderedDict

# More callers than this at once: the one that has been quiet longest is forgotten (its bucket is full by then).
MAX_CALLERS = 10_000


class Limiter:
    """A token bucket for each caller: `rate` a second, bursts of as many."""

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self._buckets: OrderedDict[object, tuple[float, float]] = OrderedDict()

    def wait(self, caller: object) -> int:
        """Take one token. 0 when there was one, else the whole seconds until there is."""
        now = time.monotonic()
        tokens, at = self._buckets.pop(caller, (float(self.rate), now))
        tokens = min(float(self.rate), tokens + (now - at) * self.rate)
        granted = tokens >= 1
        self._buckets[caller] = (tokens - 1 if granted else tokens, now)
        if len(self._buckets) > MAX_CALLERS:
            self._buckets.popitem(last=False)
        return 0 if granted else max(1, math.ceil((1 - tokens) / self.rate))
