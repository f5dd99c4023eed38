"""`python -m portal.demo`: a shop's checkout with four hundred customers, until its portal ends or a signal says so.

PORTAL_DATA_DIR names the folder with its keys, PORTAL_DEMO_URL the portal. PORTAL_DEMO_PAUSE (seconds between two
releases), PORTAL_DEMO_VISITS (a second) and PORTAL_DEMO_REPORT_EVERY (seconds) change its pace.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from portal.demo import config
from portal.demo.control import Control
from portal.demo.deciding import Deciding
from portal.demo.doors import Door
from portal.demo.failures import Failures
from portal.demo.pages import Pages
from portal.demo.releases import Releases
from portal.demo.reporting import Reporting
from portal.demo.tally import Tally
from portal.demo.trouble import Trouble
from portal.demo.visits import Visits
from portal.demo.voices import Voices

LOOK_AT_PARENT_EVERY = 1.0  # seconds


def main() -> int:
    parent = os.getppid()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: stopping.set())
    try:
        known = config.read()
        keys = {name: known.keys[name] for name in ("evaluate", "ingest", "feedback", "browser", "write")}
    except (config.Unknown, KeyError) as error:
        print(f"the demo cannot start: {error}", file=sys.stderr)
        return 1

    began = time.time()
    trouble, tally = Trouble(), Tally()
    deciding = Deciding(known.portal, keys["evaluate"])
    voices = Voices(Door(known.portal, keys["feedback"]))
    pages = Pages(Door(known.portal, keys["browser"]))
    releases = Releases(Door(known.portal, keys["write"]), trouble, known.pause)
    reporting = Reporting(Door(known.portal, keys["ingest"]), tally, known.report_every)
    failures = Failures(Door(known.portal, keys["ingest"]))
    visits = Visits(deciding, tally, trouble, releases, voices, pages, failures, known.visits)

    def state() -> dict[str, Any]:
        return {
            "injected": trouble.shown(),
            "visits": visits.count,
            "evaluations": deciding.evaluations,
            "evaluation_failures": deciding.failures,
            "samples_sent": reporting.sent,
            "reports_waiting": tally.backlog,
            "feedback_posted": voices.posted,
            "errors_posted": failures.posted,
            "page_views_told": pages.told,
            "running_for": round(time.time() - began, 1),
            "release": releases.shown(),
        }

    control = Control(known.data_dir, trouble, state)
    control.serve()
    lives: dict[str, Callable[[threading.Event], None]] = {
        "releases": releases.run,
        "visits": visits.run,
        "reports": reporting.run,
        "voices": voices.run,
        "pages": pages.run,
        "failures": failures.run,
    }
    for name, live in lives.items():
        threading.Thread(target=live, args=(stopping,), name=name, daemon=True).start()
    print(f"{len(visits.customers)} customers shop at {known.portal}")
    # A parent that was killed cannot tell us: that we have another one now, can.
    while not stopping.wait(LOOK_AT_PARENT_EVERY):
        if os.getppid() != parent:
            break
    stopping.set()
    control.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
