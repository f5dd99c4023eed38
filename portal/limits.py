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
        # What each has left, and since when; the caller that has been quiet longest comes first.
        self._buckets: OrderedDict[object, list[float]] = OrderedDict()

    def wait(self, caller: object) -> int:
        """Take one token. 0 when there was one, else the whole seconds until there is."""
        now = time.monotonic()
        bucket = self._buckets.get(caller)
        if bucket is None:
            bucket = self._buckets[caller] = [float(self.rate), now]
            if len(self._buckets) > MAX_CALLERS:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(caller)
        tokens = bucket[0] + (now - bucket[1]) * self.rate
        bucket[1] = now
        if tokens >= 1:
            bucket[0] = min(tokens, self.rate) - 1
            return 0
        bucket[0] = tokens
        return max(1, math.ceil((1 - tokens) / self.rate))
