"""The shop's pages in its customers' browsers: what some views measured, told as the portal's script tells it."""

import queue
import random
import threading
import zlib
from dataclasses import dataclass
from typing import Any

from portal.demo import scene
from portal.demo.doors import Away, Door, Patience, Refused
from portal.demo.people import Customer

ORIGIN = "https://shop.example.com"
PATH = "/ingest/browser"
SHARE = 0.04  # of the visits: as data-sample says it
MOST_WAITING = 50
PATHS = ("/", "/cart", "/cart/delivery", "/cart/payment", "/orders/:id")
CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"
)
# How the customers of one device look to a server. Each of them keeps to one.
AGENTS = {
    "web": (
        CHROME,
        f"{CHROME} Edg/142.0.0.0",
        "Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0",
    ),
    "android": (
        "Mozilla/5.0 (Linux; Android 16) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36",
    ),
    "ios": (
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 "
        "Mobile/15E148 Safari/604.1",
    ),
}
SLOWER = {"web": 1.0, "android": 1.7, "ios": 1.3}
BREAKS = 0.01  # of the views on a good day
STACK = """TypeError: Cannot read properties of undefined (reading 'total')
    at Cart.render (https://shop.example.com/static/cart.js:214:18)
    at Cart.update (https://shop.example.com/static/cart.js:97:10)
    at HTMLButtonElement.onclick (https://shop.example.com/static/cart.js:31:7)"""


@dataclass(frozen=True, slots=True)
class View:
    """One page view, ready to be told."""

    agent: str
    report: dict[str, Any]


class Pages:
    """Visits only drop what was measured into a queue; a thread of its own tells it."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._waiting: queue.Queue[View] = queue.Queue(MOST_WAITING)
        self._dice = random.Random()
        self.told = 0

    def viewed(self, customer: Customer, build: str, version: str, *, errors: int, slowest: float) -> None:
        """Perhaps this visit is one of those that are measured."""
        if self._dice.random() < SHARE:
            try:
                self._waiting.put_nowait(self.view(customer, build, version, errors=errors, slowest=slowest))
            except queue.Full:
                pass  # a page that was closed before it was heard

    def view(self, customer: Customer, build: str, version: str, *, errors: int, slowest: float) -> View:
        """`errors` and `slowest` are those of the visit's requests: a page waits for them, and may break on them."""
        agents = AGENTS[customer.device]
        agent = agents[zlib.crc32(customer.key.encode()) % len(agents)]
        page, view = self._dice.choice(PATHS), f"{self._dice.getrandbits(64):x}"
        server, pace = 0.6 * slowest, SLOWER[customer.device]
        painted = server + pace * self._spread(0.55)
        largest = painted + pace * self._spread(0.5)
        figures = {"ttfb": server, "fcp": painted, "lcp": largest, "load": largest + self._spread(0.3)}
        figures["render"] = figures["load"] - server
        if "Chrome" in agent:  # the others do not measure it
            figures["cls"] = self._dice.choice((0.0, 0.0, 0.01, 0.04, 0.12))
        if self._dice.random() < 0.7:
            figures["inp"] = pace * self._spread(0.09)
        shared = {"service": scene.SERVICE, "flag": scene.FLAG, "variant": build, "release": version or None}
        measured = [
            {"id": f"{view}-{name}", "page": page, "name": name, "value": round(value, 4), "age": 1.0}
            for name, value in figures.items()
        ]
        broken = errors > 1 or self._dice.random() < BREAKS
        failed = {"id": f"{view}-e1", "page": page, "type": "TypeError", "stack": STACK, "age": 0.5,
                  "message": "Cannot read properties of undefined (reading 'total')",
                  "source": f"{ORIGIN}/static/cart.js:214:18"}  # fmt: skip
        return View(agent, {**shared, "measurements": measured, "errors": [failed] if broken else []})

    def run(self, stopping: threading.Event) -> None:
        patience = Patience(stopping)
        while not stopping.is_set():
            try:
                view = self._waiting.get(timeout=0.5)
            except queue.Empty:
                continue
            while not stopping.is_set():
                try:
                    self._door.post(PATH, view.report, headers={"Origin": ORIGIN, "User-Agent": view.agent})
                except Away as away:
                    patience.failed(away.after)
                    continue
                except Refused as refused:
                    print(f"a page view was refused: {refused}")
                    patience.failed(2.0)
                else:
                    self.told += 1
                    patience.succeeded()
                break

    def _spread(self, median: float) -> float:
        return median * self._dice.lognormvariate(0, scene.SPREAD)
