"""`manage.py create_api_key NAME --scope SCOPE`: prints the new key alone on standard output."""

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any, TypeVar

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from portal import keys
from portal.audit import Automaton
from portal.errors import Invalid
from portal.models import ApiKey, Environment, Service

M = TypeVar("M", Environment, Service)


class Command(BaseCommand):
    help = "Make an API key and print it, alone, on standard output. It is shown this once."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="what it is for; shown in the audit trail")
        parser.add_argument("--scope", action="append", required=True, choices=ApiKey.Scope.values, metavar="SCOPE",
                            help=f"one of {', '.join(ApiKey.Scope.values)}; may be given several times")  # fmt: skip
        parser.add_argument("--environment", action="append", metavar="KEY",
                            help="an environment that it is bound to; may be repeated; none: all")  # fmt: skip
        parser.add_argument("--service", action="append", metavar="KEY",
                            help="a service that it is bound to; may be repeated; none: all")  # fmt: skip
        parser.add_argument("--origin", action="append", default=[], metavar="ORIGIN",
                            help="of a browser key: a site whose pages may use it; may be repeated")  # fmt: skip
        parser.add_argument("--expires", type=int, metavar="DAYS", help="days until it expires")

    def handle(self, *_: Any, **options: Any) -> None:
        environments = _named(Environment, options["environment"], "environment")
        services = _named(Service, options["service"], "service")
        if options["expires"] is not None and options["expires"] < 1:
            raise CommandError("--expires: at least 1 day")
        try:
            made = keys.create(
                options["name"],
                scopes=options["scope"],
                environments=environments,
                services=services,
                from_origins=options["origin"],
                expires_at=timezone.now() + timedelta(days=options["expires"]) if options["expires"] else None,
                by=Automaton("command line"),
            )
        except Invalid as error:
            raise CommandError(str(error)) from None
        self.stdout.write(made[1])


def _named(model: type[M], keys_: list[str] | None, option: str) -> list[M] | None:
    """The rows of these keys; None without any, which means all of them."""
    if not keys_:
        return None
    found = {row.key: row for row in model._default_manager.filter(key__in=keys_)}
    for key in keys_:
        if key not in found:
            known = ", ".join(model._default_manager.values_list("key", flat=True)) or "none yet"
            raise CommandError(f"--{option}: no {option} named {key!r} (there are: {known})")
    return list(found.values())
