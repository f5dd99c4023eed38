"""Sends what was counted, every few seconds; what could not be sent waits its turn."""

import threading

from portal.demo.doors import Away, Door, Patience, Refused
from portal.demo.tally import Tally

REPORTS_AT_ONCE = 60


class Reporting:
    """One thread. The portal takes a report that comes twice only once, so any doubt is settled by sending again."""

    def __init__(self, door: Door, tally: Tally, every: float) -> None:
        self._door, self._tally, self._every = door, tally, every
        self.sent = 0

    def run(self, stopping: threading.Event) -> None:
        patience = Patience(stopping)
        while not stopping.wait(self._every):
            self._tally.close()
            try:
                self._send_all()
            except Away as away:
                if patience.failed(away.after):
                    print(f"metrics wait for the portal: {away}")
            else:
                if patience.succeeded():
                    print("metrics that waited have arrived")

    def _send_all(self) -> None:
        while reports := self._tally.oldest(REPORTS_AT_ONCE):
            samples = [sample for report in reports for sample in report.samples()]
            try:
                self._door.post("/api/v1/samples/", {"samples": samples})
            except Refused as refused:
                if refused.status in (401, 403):
                    # The key may come back with the next start; the samples will.
                    raise Away(str(refused), after=10.0) from None
                # Those that were good are kept; the others would be refused again.
                print(f"some samples were refused: {refused}")
            self._tally.forget(reports)
            self.sent += len(samples)
