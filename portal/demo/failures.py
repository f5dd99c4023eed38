"""What goes wrong in the shop, as it is reported: an exception now and then, a storm when errors are injected."""

import queue
import threading
import time
import uuid
from dataclasses import dataclass
from typing import Any

from portal.demo import scene
from portal.demo.doors import Away, Door, Patience, Refused
from portal.demo.people import Customer

# At most so often: what a storm of errors is, a few of them tell.
AT_MOST_EVERY = 1.5  # seconds
MOST_WAITING = 100


@dataclass(frozen=True, slots=True)
class Failure:
    """One thing that goes wrong, as the shop's code says it."""

    type: str
    message: str
    stack: str
    severity: str


VOUCHER = Failure(
    "KeyError",
    "'SPRING-10'",
    """Traceback (most recent call last):
  File "/srv/checkout/checkout/cart.py", line 132, in total
    rebate = self.vouchers[code].rebate
KeyError: 'SPRING-10'
""",
    "error",
)
ADDRESSES = Failure(
    "AddressServiceBusy",
    "the address service answered 429 to 12 of 12 requests",
    """Traceback (most recent call last):
  File "/srv/checkout/checkout/address.py", line 64, in validate
    found = self.addresses.find(street, town)
  File "/srv/checkout/checkout/addresses/client.py", line 31, in find
    raise AddressServiceBusy(answer.status_code)
AddressServiceBusy: 429
""",
    "critical",
)


class Failures:
    """Visits only drop what failed into a queue; a thread of its own reports it."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._waiting: queue.Queue[dict[str, Any]] = queue.Queue(MOST_WAITING)
        self._not_before = 0.0
        self.posted = 0

    def happened(self, customer: Customer, version: str, *, injected: bool) -> None:
        """A request of this customer failed; the usual way, or because somebody wished it."""
        if time.monotonic() < self._not_before:
            return
        self._not_before = time.monotonic() + AT_MOST_EVERY
        failure = ADDRESSES if injected else VOUCHER
        report = {
            "type": failure.type,
            "message": failure.message,
            "stack": failure.stack,
            "severity": failure.severity,
            "service": scene.SERVICE,
            "environment": scene.ENVIRONMENT,
            "unit": customer.key,
            # Known by it, however often it has to be sent.
            "key": uuid.uuid4().hex,
            "time": round(time.time(), 3),
            **({"release": version} if version else {}),
        }
        try:
            self._waiting.put_nowait(report)
        except queue.Full:
            pass  # the portal is away, and has heard enough of it

    def run(self, stopping: threading.Event) -> None:
        patience = Patience(stopping)
        while not stopping.is_set():
            try:
                report = self._waiting.get(timeout=0.5)
            except queue.Empty:
                continue
            while not stopping.is_set():
                try:
                    self._door.post("/api/v1/errors/", {"errors": [report]})
                except Away as away:
                    patience.failed(away.after)
                    continue
                except Refused as refused:
                    print(f"an error was refused: {refused}")
                    patience.failed(2.0)
                else:
                    self.posted += 1
                    patience.succeeded()
                break
