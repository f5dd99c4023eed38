"""`manage.py doctor`: what is well, and what to do about what is not."""

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from portal.management import examination


class Command(BaseCommand):
    help = "Check what the portal stands on. Each line says what was found; the exit code is 1 if something is wrong."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--data-dir", type=Path, default=settings.DATA_DIR, help="where all data is kept (default: %(default)s)"
        )

    def handle(self, *, data_dir: Path, **_: Any) -> None:
        wrong = 0
        for finding in examination.findings(data_dir.expanduser().resolve()):
            self.stdout.write(f"{'ok   ' if finding.ok else 'WRONG'} {finding.subject}: {finding.detail}")
            if not finding.ok:
                wrong += 1
                self.stdout.write(f"      → {finding.remedy}")
        if wrong:
            self.stdout.write(f"{wrong} of these must be put right")
            raise SystemExit(1)
        self.stdout.write("all is well")
