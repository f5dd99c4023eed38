"""`manage.py sentry_dsn SERVICE`: prints what a Sentry SDK needs to report to the portal, alone on standard output."""

from argparse import ArgumentParser
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from portal import keys
from portal.audit import Automaton
from portal.errors import Invalid
from portal.models import ApiKey, Environment, Service


class Command(BaseCommand):
    help = (
        "Make an API key for one service and print the DSN that carries it, alone, on standard output. It is shown "
        "this once. Its scope is ingest, a secret of servers; with --origin it is browser, which may stand in pages."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("service", help="the key of the service that reports")
        parser.add_argument("--environment", metavar="KEY",
                            help="the environment that its errors belong to, whatever the SDK says; "
                            "none: the one that the SDK names")  # fmt: skip
        parser.add_argument("--origin", action="append", default=[], metavar="ORIGIN",
                            help="of an SDK in pages: a site whose pages may use it, as https://shop.example.com; "
                            "may be repeated")  # fmt: skip

    def handle(self, *_: Any, **options: Any) -> None:
        service = self._find(Service, options["service"])
        name = options["environment"]
        environments = None if name is None else [self._find(Environment, name)]
        where = f" in {name}" if name else ""
        what, scope = ("pages of ", ApiKey.Scope.BROWSER) if options["origin"] else ("", ApiKey.Scope.INGEST)
        try:
            raw = keys.create(
                f"Sentry SDK of {what}{service}{where}",
                scopes=[scope],
                environments=environments,
                services=[service],
                from_origins=options["origin"],
                by=Automaton("command line"),
            )[1]
        except Invalid as error:
            raise CommandError(str(error)) from None
        at = urlsplit(settings.PORTAL_BASE_URL)
        self.stdout.write(f"{at.scheme}://{keys.to_public(raw)}@{at.netloc}{at.path}/{service.pk}")

    def _find(self, model: Any, key: str) -> Any:
        found = model.objects.filter(key=key).first()
        if found is None:
            noun = model._meta.verbose_name
            known = ", ".join(model.objects.values_list("key", flat=True)[:50]) or "none yet"
            raise CommandError(f"no {noun} named {key!r} (there are: {known})")
        return found
