"""`manage.py library`: the shipped definitions, listed or taken over for a service in an environment."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from monitoring.actions import library as taking
from monitoring.queries import library
from portal.management import console
from portal.models import Environment, Service


class Command(BaseCommand):
    help = (
        "Without arguments: list the definitions. With --service and --environment: take over those named, or all. "
        "What is there already stays as it is. Exit code 0: done; 1: refused."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("keys", nargs="*", metavar="KEY", help="by default every definition")
        parser.add_argument("--service", "-s")
        parser.add_argument("--environment", "-e")
        parser.add_argument(
            "--measured", action="store_true", help="only those whose metrics are measured there"
        )  # fmt: skip
        console.add_actor(parser)

    def handle(self, *_: Any, **given: Any) -> None:
        if not given["service"] and not given["environment"]:
            for one in library.definitions().values():
                self.stdout.write(f"{one.key:24} {one.condition}")
            return
        service = Service.objects.filter(key=given["service"] or "").first()
        environment = Environment.objects.filter(key=given["environment"] or "").first()
        if service is None or environment is None:
            raise CommandError("--service and --environment must name those that there are")
        keys = given["keys"] or list(library.definitions())
        if given["measured"]:
            there = {one.definition.key for one in library.offers(service, environment) if one.measured}
            keys = [key for key in keys if key in there]
        with console.refusals():
            for taken in taking.take(service, environment, keys, by=console.actor(given["username"])):
                self.stdout.write(
                    f"{'made' if taken.made else 'kept'} {taken.definition.key}: threshold {taken.threshold.pk}"
                )
