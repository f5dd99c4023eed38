"""`manage.py up`: the whole portal, from its servers to its pages, until Ctrl-C."""

from argparse import ArgumentTypeError, BooleanOptionalAction
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from portal.management.demo import cast
from portal.supervise import signals
from portal.supervise.errors import Unstartable
from portal.supervise.output import Output
from portal.supervise.programs import Wanted
from portal.supervise.stack import Stack


class Command(BaseCommand):
    help = "Start PostgreSQL, Valkey, the web, the worker and the beat, and keep them running until Ctrl-C."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="where to listen (default: %(default)s)")
        parser.add_argument(
            "--port",
            type=_port,
            help="what to listen on; 0 takes a free one (default: 8000, a free one if it is taken)",
        )
        parser.add_argument(
            "--data-dir", type=Path, default=settings.DATA_DIR, help="where all data is kept (default: %(default)s)"
        )

        parser.add_argument(
            "--demo",
            action=BooleanOptionalAction,
            help="load the demo and run its simulated service (default: where the portal is empty, or has the demo)",
        )

    def handle(self, *, host: str, port: int | None, data_dir: Path, demo: bool | None, **_: Any) -> None:
        wanted = Wanted(settings.BASE_DIR, data_dir.expanduser().resolve(), host, port, demo, cast.PASSWORD)
        output = Output()
        try:
            with signals.heard() as heard:
                Stack(wanted, output, heard).run()
        except signals.Stopped:
            output.say("stopped")
        except Unstartable as refusal:
            raise CommandError(str(refusal), returncode=refusal.exit_code) from refusal
        finally:
            output.finish()


def _port(text: str) -> int:
    if text.isdecimal() and int(text) <= 65535:
        return int(text)
    raise ArgumentTypeError(f"{text!r} is no port: a number from 0 to 65535")
