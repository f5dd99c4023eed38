"""`manage.py import_flags FILE --format FORMAT`: flags of another system, looked at or written."""

import json
from argparse import ArgumentParser
from collections.abc import Iterable
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from portal.management import console
from rollouts.actions import imports
from rollouts.actions.configuration import KEEP, Plan
from rollouts.api.imports import shown_plan
from rollouts.importers.formats import FORMATS
from rollouts.importers.options import REFUSE, UNKNOWN, Options


class Command(BaseCommand):
    help = (
        "Bring the flags of another system along: every user keeps what he has. All of the file is written, or "
        "nothing. Exit code 0: done; 1: refused, with every fault on standard error."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", metavar="FILE", help="the document, JSON; - for standard input")
        parser.add_argument("--format", required=True, choices=sorted(FORMATS))
        parser.add_argument(
            "--environment", "-e", action="append", default=[], metavar="[THEIRS=]OURS",
            help="the environment that takes it; with an = sign for each of a document about several",
        )  # fmt: skip
        parser.add_argument(
            "--attribute", action="append", default=[], metavar="THEIRS=OURS", help="an attribute's name here"
        )  # fmt: skip
        parser.add_argument("--unknown", choices=UNKNOWN, default=REFUSE, help="what cannot be translated")
        parser.add_argument("--flagd-encoding", choices=("cbor", "text"), default="cbor")
        parser.add_argument("--dry-run", action="store_true", help="say what would be written, and write nothing")
        parser.add_argument("--because", default="", metavar="TEXT", help="the reason, for the history")
        parser.add_argument("--json", action="store_true", help="the answer as JSON, shaped as in the REST API")
        console.add_actor(parser)

    def handle(self, *_: Any, **given: Any) -> None:
        source = given["file"] if given["file"] == "-" else f"@{given['file']}"
        text = console.given_text(source)
        try:
            document = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise CommandError(f"{given['file']} is no JSON: {error}") from None
        plain = [one for one in given["environment"] if "=" not in one]
        if len(plain) > 1 or (plain and len(given["environment"]) > 1):
            raise console.misused("--environment: several are given as THEIRS=OURS")
        options = Options(
            environment=plain[0] if plain else "",
            environments=_pairs(one for one in given["environment"] if "=" in one),
            attributes=_pairs(given["attribute"]),
            unknown=given["unknown"],
            flagd_encoding=given["flagd_encoding"],
        )
        by = console.actor(given["username"])
        with console.refusals():
            if given["dry_run"]:
                plan = imports.preview(given["format"], document, options, by=by)
            else:
                plan = imports.run(given["format"], document, options, by=by, because=given["because"])
        if given["json"]:
            self.stdout.write(console.as_json(shown_plan(plan, applied=not given["dry_run"])))
        else:
            self.stdout.write("\n".join(_lines(plan, dry=given["dry_run"])))


def _pairs(given: Iterable[str]) -> dict[str, str]:
    found = {}
    for one in given:
        theirs, separator, ours = one.partition("=")
        if not separator or not theirs or not ours:
            raise console.misused(f"{one}: must be THEIRS=OURS")
        found[theirs] = ours
    return found


def _lines(plan: Plan, *, dry: bool) -> Iterable[str]:
    for step in plan.steps:
        if step.does == KEEP:
            continue
        where = f" in {step.environment}" if step.environment else ""
        yield f"{step.does} {step.kind} {step.key}{where}"
        for name, (before, after) in step.changes.items():
            was = "" if before is None else f"{json.dumps(before, ensure_ascii=False)} → "
            yield f"    {name}: {was}{json.dumps(after, ensure_ascii=False)}"
        if step.moved is not None:
            yield (f"    legacy bucketing: {step.moved} of {plan.units} would move on a switch to the portal's own")
    for flag, words in plan.warnings:
        yield f"note{f' on {flag}' if flag else ''}: {words}"
    counts = plan.counts
    done = "would be" if dry else "were"
    yield f"{counts['create']} {done} created, {counts['change']} changed, {counts['keep']} kept as they are"
