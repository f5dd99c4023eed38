"""`manage.py demo`: load the demo into an empty portal, or make the portal empty again."""

import getpass
import time
from argparse import SUPPRESS
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from portal.errors import Refused
from portal.management.demo import emptying, loading

EMPTIED_WITHIN = 120.0  # seconds


class Command(BaseCommand):
    help = (
        "Load the demo: people, flags, a month of releases behind them, and a canary on its way. Twice does nothing. "
        "With --start-empty the portal is made anew without it."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--start-empty", metavar="WHY", help="throw the demo away with everything that was done in it; say why"
        )
        parser.add_argument("--carry-out-start-empty", action="store_true", help=SUPPRESS)

    def handle(self, *, start_empty: str | None, carry_out_start_empty: bool, **_: Any) -> None:
        try:
            if carry_out_start_empty:
                emptying.carry_out(settings.DATA_DIR)
            elif start_empty is not None:
                self._start_empty(start_empty.strip())
            else:
                self._load()
        except Refused as refused:
            raise CommandError(str(refused)) from None

    def _load(self) -> None:
        loaded = loading.load(settings.DATA_DIR)
        if not loaded.deployments:
            self.stdout.write("the demo is loaded already")
            return
        self.stdout.write(
            f"the demo is loaded: {loaded.deployments} deployments, {loaded.samples} samples, "
            f"{loaded.entries} lines of audit, {loaded.feedback} pieces of feedback, in {loaded.seconds:.1f} s"
        )

    def _start_empty(self, because: str) -> None:
        if not because:
            raise CommandError("--start-empty: say why, it is the first line of the new audit trail")
        by = f"{getpass.getuser()}, on the command line"
        if not emptying.is_supervised(settings.DATA_DIR):
            # Nobody holds in memory what is about to go.
            emptying.empty(settings.DATA_DIR, by=by, because=because)
        else:
            emptying.wish(settings.DATA_DIR, by=by, because=because)
            deadline = time.monotonic() + EMPTIED_WITHIN
            while emptying.is_wished(settings.DATA_DIR):
                if time.monotonic() > deadline:
                    raise CommandError(f"up has not done it within {EMPTIED_WITHIN:.0f} s: its lines say why")
                time.sleep(0.2)
        self.stdout.write("the portal is empty; make its first person with manage.py createsuperuser")
