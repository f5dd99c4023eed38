"""How much of what strangers send is kept of one span of time, counted in this process's memory."""

import threading
from collections import OrderedDict
from collections.abc import Hashable

# More spans than this at once: the one that has taken nothing for longest is forgotten.
MOST_SPANS = 50_000


class Allowance:
    """So many for each span; whoever asks names the span, with all that it is told apart by."""

    def __init__(self) -> None:
        self._taken: OrderedDict[Hashable, int] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, span: Hashable, most: int) -> bool:
        """Take one. False when there is none left."""
        with self._lock:
            taken = self._taken.get(span, 0)
            if taken >= most:
                return False
            self._taken[span] = taken + 1
            self._taken.move_to_end(span)
            if len(self._taken) > MOST_SPANS:
                self._taken.popitem(last=False)
            return True

    def forget(self) -> None:
        with self._lock:
            self._taken.clear()
