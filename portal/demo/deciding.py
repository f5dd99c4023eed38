"""Which build a customer gets: asked of the portal by the OpenFeature client, remembered for when it is away."""

import logging
import time

from openfeature import api
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext

from portal.demo import scene
from portal.demo.people import Customer

TIMEOUT = 2.0  # seconds; a shop does not wait longer for its flags
LONGEST_PAUSE = 5.0  # seconds without asking, after several failures in a row


class Deciding:
    """Used by one thread. Counts what it asked."""

    def __init__(self, portal: str, key: str) -> None:
        # It would print a trace for each of twenty failures a second.
        logging.getLogger("openfeature").setLevel(logging.CRITICAL)
        headers = {"Authorization": f"Bearer {key}"}
        api.set_provider(OFREPProvider(portal, headers_factory=lambda: headers, timeout=TIMEOUT))
        self._client = api.get_client()
        self._last: dict[str, str] = {}
        self._usual = scene.BUILDS[0]
        self._ask_again_at = 0.0
        self.evaluations = 0
        self.failures = 0
        self._failures_in_a_row = 0

    def build_for(self, customer: Customer) -> str:
        """The build that serves this customer now; the last known one while the portal is away."""
        known = self._last.get(customer.key, self._usual)
        if time.monotonic() < self._ask_again_at:
            return known
        details = self._client.get_string_details(scene.FLAG, known, _context(customer))
        self._note(failed=details.error_code is not None)
        if details.value in scene.BUILDS:
            self._last[customer.key] = details.value
        return self._last.get(customer.key, self._usual)

    def look_at(self, flag: str, customer: Customer) -> None:
        """Ask another flag, as the rest of the shop does."""
        if time.monotonic() >= self._ask_again_at:
            details = self._client.get_boolean_details(flag, False, _context(customer))
            self._note(failed=details.error_code is not None and details.error_code != "FLAG_NOT_FOUND")

    @property
    def is_away(self) -> bool:
        return self._failures_in_a_row > 0

    def _note(self, *, failed: bool) -> None:
        if not failed:
            self.evaluations += 1
            self._failures_in_a_row = 0
            return
        self.failures += 1
        self._failures_in_a_row += 1
        pause = min(0.25 * 2.0 ** min(self._failures_in_a_row, 10), LONGEST_PAUSE)
        self._ask_again_at = time.monotonic() + pause


def _context(customer: Customer) -> EvaluationContext:
    return EvaluationContext(targeting_key=customer.key, attributes=dict(customer.attributes))
