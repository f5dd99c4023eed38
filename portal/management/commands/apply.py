"""`manage.py apply config.yaml`: make the portal like a document; what is replaced is kept beside it first."""

import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from portal.audit import Actor
from portal.config import applying, reading
from portal.config.run import CREATE, Change
from portal.management import console

LONGEST_SHOWN = 200  # characters of a value


class Command(BaseCommand):
    help = (
        "Show what a document would change, check all of it, keep what is replaced, apply it as a whole. Nothing is "
        "deleted. Exit code 0: applied, or nothing to do; 1: refused, nothing is written; 2: the command line is wrong."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", help="the document; - for standard input")
        parser.add_argument("--dry-run", action="store_true", help="show what it would change, and stop there")
        parser.add_argument("--yes", "-y", action="store_true", help="do not ask; nobody is asked without a terminal")
        parser.add_argument("--backup", type=Path, metavar="DIR", help="where what is replaced is kept (beside FILE)")
        parser.add_argument("--environment", "-e", action="append", metavar="KEY",
                            help="where the flags of a plain document go; may be repeated")  # fmt: skip
        parser.add_argument("--because", default="", metavar="TEXT", help="the reason, for the history")
        parser.add_argument("--json", action="store_true", help="the answer as JSON, shaped as in the REST API")
        console.add_actor(parser)

    def handle(self, *_: Any, file: str, dry_run: bool, yes: bool, **options: Any) -> None:
        quiet = options["json"]
        by = console.actor(options["username"])
        text = console.given_text("-" if file == "-" else f"@{file}")
        with console.refusals():
            document = applying.read(reading.from_text(text, Path(file).name), options["environment"])
            outcome = applying.plan(document, by=by)
        if not quiet:
            self._show(document, outcome)
        applied = False
        if outcome.changed and not dry_run:
            if not (yes or quiet) and file != "-" and sys.stdin.isatty():
                _ask()
            kept = _backup(outcome, file, options["backup"], by)
            if kept and not quiet:
                self.stdout.write(f"kept what is replaced in {kept}")
            with console.refusals():
                outcome = applying.apply(document, by=by, because=options["because"])
            applied = True
        if quiet:
            self.stdout.write(console.as_json({
                "version": document.version, "applied": applied, "counts": outcome.counts,
                "changes": [{"path": one.path, "does": one.does, "fields": one.fields} for one in outcome.changed],
                "report": [{"path": path, "message": words} for path, words in document.report],
                "warnings": [{"path": path, "message": words} for path, words in outcome.warnings],
            }))  # fmt: skip
        elif applied:
            self.stdout.write(f"applied: {outcome.counts['create']} new, {outcome.counts['change']} changed")

    def _show(self, document: applying.Document, outcome: applying.Outcome) -> None:
        if document.version != applying.VERSION:
            self.stdout.write(f"written in version {document.version}, read as {applying.VERSION}:")
        for path, words in document.report:
            self.stdout.write(f"  {document.source.place(path)}  {path}: {words}" if path else f"  {words}")
        for path, words in outcome.warnings:
            self.stdout.write(f"note  {path}: {words}")
        for change in outcome.changed:
            self.stdout.write("\n".join(_lines(change)))
        if not outcome.changed:
            self.stdout.write(f"nothing to change: {outcome.counts['keep']} things are like that already")


def _ask() -> None:
    if input("Apply this? [y/N] ").strip().lower() not in ("y", "yes"):
        raise CommandError("not applied")


def _lines(change: Change) -> list[str]:
    lines = [f"{'+' if change.does == CREATE else '~'} {change.path}"]
    for name, (before, after) in change.fields.items():
        if change.does != CREATE:
            lines.append(f"    - {name}: {_short(before)}")
        lines.append(f"    + {name}: {_short(after)}")
    return lines


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}… ({len(text)} characters)"


def _backup(outcome: applying.Outcome, file: str, folder: Path | None, by: Actor) -> Path | None:
    """What is replaced, as a document that brings it back; written and on the disk before anything is changed."""
    content, left_out = applying.replaced(outcome, by=by)
    if len(content) == 1:
        return None
    given = Path("apply" if file == "-" else file)
    folder = folder or (Path.cwd() if file == "-" else given.parent)
    made = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}Z"
    path = folder / f"{given.stem}.before-{made}.yaml"
    comments = [f"What applying {given.name} replaced.", *(f"not in this document: {words}" for words in left_out)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as kept:
            kept.write(applying.as_yaml(content, comments))
            kept.flush()
            os.fsync(kept.fileno())
    except OSError as error:
        raise CommandError(f"cannot keep what is replaced in {folder}: {error.strerror}: nothing is applied") from None
    return path
