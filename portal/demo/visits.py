"""The customers' visits: each asks which build serves it, makes its requests, and may have something to say."""

import random
import threading
import time
from datetime import UTC, datetime

from portal.demo import people, scene
from portal.demo.deciding import Deciding
from portal.demo.failures import Failures
from portal.demo.pages import Pages
from portal.demo.people import Customer
from portal.demo.releases import Releases
from portal.demo.tally import Labels, Tally
from portal.demo.trouble import Injected, Trouble
from portal.demo.voices import Voices

# What else the shop asks, and how often.
OTHER_FLAGS = ("new-address-form", "gift-wrap", "pay-with-blik")
ASKS_ANOTHER = 0.15
RAISES = 0.01
REST = 0.25  # seconds: visits come in small groups, so that the program sleeps in between


class Visits:
    """One thread that lives through the customers' day."""

    def __init__(
        self,
        deciding: Deciding,
        tally: Tally,
        trouble: Trouble,
        releases: Releases,
        voices: Voices,
        pages: Pages,
        failures: Failures,
        rate: float,
    ) -> None:
        self._deciding, self._tally, self._trouble = deciding, tally, trouble
        self._releases, self._voices, self._rate = releases, voices, rate
        self._pages, self._failures = pages, failures
        self.customers = people.population()
        self._dice = random.Random()
        self._owed = 0.0
        self.count = 0

    def run(self, stopping: threading.Event) -> None:
        was = time.monotonic()
        said_away = False
        while not stopping.wait(REST):
            now = time.monotonic()
            self._owed += self._rate * scene.tide(datetime.now(UTC)) * min(now - was, 5.0)
            was = now
            while self._owed >= 1 and not stopping.is_set():
                self._owed -= 1
                self._visit(self._dice.choice(self.customers))
            for service in ("search", "payments"):
                self._elsewhere(service, min(REST, 5.0))
            if self._deciding.is_away != said_away:
                said_away = self._deciding.is_away
                print("flags are not answered: last known builds go on" if said_away else "flags are answered again")

    def _visit(self, customer: Customer) -> None:
        self.count += 1
        build = self._deciding.build_for(customer)
        if self._dice.random() < ASKS_ANOTHER:
            self._deciding.look_at(self._dice.choice(OTHER_FLAGS), customer)
        met = self._trouble.of(is_variant=build == self._releases.variant)
        errors, seconds = self._requests(scene.SERVICE, scene.REQUESTS_A_VISIT, met)
        labels = _labels(scene.SERVICE, flag=scene.FLAG, variant=build)
        self._tally.count(labels, requests=scene.REQUESTS_A_VISIT, errors=errors, seconds=seconds)
        version, slowest = self._releases.version_of(build), max(seconds)
        # Of the usual failures few are exceptions.
        if errors and (met.errors or self._dice.random() < RAISES):
            self._failures.happened(customer, version, injected=bool(met.errors))
        self._voices.hear(customer, build, version, errors=errors, slowest=slowest, angry=met.angry)
        self._pages.viewed(customer, build, version, errors=errors, slowest=slowest)

    def _elsewhere(self, service: str, seconds: float) -> None:
        """The other services have their own customers; here they are only counted."""
        expected = scene.GOOD_DAYS[service][0] * scene.tide(datetime.now(UTC)) * seconds
        requests = max(0, round(self._dice.gauss(expected, expected**0.5)))
        # A part of the requests is timed, as tracing does.
        errors, taken = self._requests(service, max(1, requests // 10), Injected())
        share = scene.GOOD_DAYS[service][1]
        failed = sum(self._dice.random() < share for _ in range(requests))
        self._tally.count(_labels(service), requests=requests, errors=failed, seconds=taken)

    def _requests(self, service: str, how_many: int, met: Injected) -> tuple[int, list[float]]:
        """How many of them fail, and how long each takes."""
        _, failing, median = scene.GOOD_DAYS[service]
        errors = sum(self._dice.random() < max(failing, met.errors) for _ in range(how_many))
        slower = met.latency / 1000
        taken = [median * self._dice.lognormvariate(0, scene.SPREAD) + slower for _ in range(how_many)]
        return errors, taken


def _labels(service: str, **arm: str) -> Labels:
    return tuple({"service": service, "environment": scene.ENVIRONMENT, **arm}.items())
