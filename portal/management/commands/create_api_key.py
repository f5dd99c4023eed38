"""`manage.py create_api_key NAME --scope SCOPE`: prints the new key alone on standard output."""

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from portal import keys
from portal.audit import Automaton
from portal.errors import Invalid
from portal.models import ApiKey, Environment


class Command(BaseCommand):
    help = "Make an API key and print it, alone, on standard output. It is shown this once."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="what it is for; shown in the audit trail")
        parser.add_argument("--scope", action="append", required=True, choices=ApiKey.Scope.values, metavar="SCOPE",
                            help=f"one of {', '.join(ApiKey.Scope.values)}; may be given several times")  # fmt: skip
        parser.add_argument("--environment", action="append", metavar="KEY",
                            help="an environment that it is bound to; may be repeated; none: all")  # fmt: skip
        parser.add_argument("--expires", type=int, metavar="DAYS", help="days until it expires")

    def handle(self, *_: Any, **options: Any) -> None:
        environments = None
        if options["environment"]:
            found = {row.key: row for row in Environment.objects.filter(key__in=options["environment"])}
            for key in options["environment"]:
                if key not in found:
                    known = ", ".join(Environment.objects.values_list("key", flat=True)) or "none yet"
                    raise CommandError(f"--environment: no environment named {key!r} (there are: {known})")
            environments = list(found.values())
        if options["expires"] is not None and options["expires"] < 1:
            raise CommandError("--expires: at least 1 day")
        try:
            made = keys.create(
                options["name"],
                scopes=options["scope"],
                environments=environments,
                expires_at=timezone.now() + timedelta(days=options["expires"]) if options["expires"] else None,
                by=Automaton("command line"),
            )
        except Invalid as error:
            raise CommandError(str(error)) from None
        self.stdout.write(made[1])
