"""`manage.py export`: the portal's configuration as one document, for `apply` here or elsewhere."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from portal.config import applying
from portal.config.kinds import Scope
from portal.management import console
from portal.models import Environment


class Command(BaseCommand):
    help = "Print the configuration as YAML. Applied to an empty portal, every user gets what he gets here."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--environment", "-e", metavar="KEY", help="only what is in this one")
        parser.add_argument("--output", "-o", type=Path, metavar="FILE", help="write it there instead")
        console.add_actor(parser)

    def handle(self, *_: Any, environment: str | None, output: Path | None, **options: Any) -> None:
        by = console.actor(options["username"])
        if environment is not None and not Environment.objects.filter(key=environment).exists():
            known = ", ".join(Environment.objects.values_list("key", flat=True)) or "none yet"
            raise CommandError(f"there is no environment {environment} (there are: {known})")
        with console.refusals():
            content, left_out = applying.export(Scope(by, environment))
        for words in left_out:
            self.stderr.write(f"not exported: {words}")
        text = applying.as_yaml(content, [f"not in this document: {words}" for words in left_out])
        if output is None:
            self.stdout.write(text, ending="")
            return
        try:
            output.write_text(text, encoding="utf-8")
        except OSError as error:
            raise CommandError(f"cannot write {output}: {error.strerror}") from None
