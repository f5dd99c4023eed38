"""`manage.py config_template KIND`: a commented section to begin a document with."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from portal.config import applying, kinds


class Command(BaseCommand):
    help = "Print a commented example of a section of a document for `apply`; several sections make one document."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("kind", nargs="+", choices=kinds.sections(), metavar="KIND",
                            help=f"one or several of {', '.join(kinds.sections())}")  # fmt: skip

    def handle(self, *_: Any, kind: list[str], **__: Any) -> None:
        wanted = [kinds.template(one) for one in kinds.sections() if one in kind]
        self.stdout.write(f"{applying.MARK}: {applying.VERSION}\n{''.join(wanted)}", ending="")
