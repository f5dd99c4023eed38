"""`manage.py flag VERB …`: flags from the command line, by the same verbs as every other door."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from portal.management import console, flag_verbs
from portal.management.flag_verbs import Asked


class Verb(CommandParser):
    """Options may stand before, between and behind the words: `flag set KEY --environment E enabled=true`."""

    _mixing = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        if self._mixing:
            return super().parse_known_args(args, namespace)
        self._mixing = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._mixing = False


class Command(BaseCommand):
    help = (
        "Look at flags and change them. Exit code 0: done (or so already); 1: refused or not there, with the reason on "
        "standard error; 2: the command line is wrong."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True, parser_class=Verb)
        add = {name: verbs.add_parser(name, help=words, description=words) for name, words in flag_verbs.VERBS.items()}
        for name, verb in add.items():
            if name != "list":
                verb.add_argument("key", help="the flag")
            verb.add_argument("--environment", "-e", metavar="KEY", required=name in flag_verbs.NEED_ENVIRONMENT)
            verb.add_argument("--json", action="store_true", help="the answer as JSON, shaped as in the REST API")
            console.add_actor(verb)
            if name in flag_verbs.WRITE:
                verb.add_argument("--because", default="", metavar="TEXT", help="the reason, for the history")
            if name in flag_verbs.MAY_ASK:
                verb.add_argument("--request", action="store_true", help="open a change request instead")
        add["list"].add_argument("--search", metavar="TEXT", help="in key, description or owner")
        add["list"].add_argument("--archived", action="store_true", help="the archived ones instead")
        add["history"].add_argument("--limit", type=int, default=20, metavar="N", help="at most so many (20)")
        _explain(add["explain"])
        _set(add["set"])
        add["restore"].add_argument("number", type=int, nargs="?", metavar="REVISION", help="see `flag history`")
        add["restore"].add_argument("--revision", type=int, metavar="N", help="the same")

    def handle(self, *_: Any, verb: str, json: bool, username: str | None, **options: Any) -> None:
        with console.refusals():
            answer = flag_verbs.do(verb, Asked(console.actor(username), options))
        self.stdout.write(console.as_json(answer.data) if json else answer.text)


def _explain(parser: ArgumentParser) -> None:
    parser.add_argument("--unit", "--targeting-key", metavar="UNIT", help="for whom: the targetingKey")
    parser.add_argument(
        "--attr", action="append", default=[], metavar="NAME=VALUE", help="an attribute, as JSON or text; repeatable"
    )  # fmt: skip
    parser.add_argument("--context", metavar="JSON", help="the whole context; @FILE or - for standard input")


def _set(parser: ArgumentParser) -> None:
    parser.add_argument(
        "fields", nargs="*", metavar="FIELD=VALUE",
        help="""a field as the REST API has it, as JSON or text: owner=dana 'fallthrough={"variant": "on"}'""",
    )  # fmt: skip
    parser.add_argument("--serve", metavar="VARIANT", help="what everybody gets whom no rule is about")
    parser.add_argument("--rollout", "--percentage", type=float, metavar="PERCENT", help="… only this share of them")
    parser.add_argument("--by", metavar="ATTRIBUTE", help="… by this attribute instead of targetingKey")
    parser.add_argument("--config", metavar="JSON", help="fields as one JSON object; @FILE or - for standard input")
    parser.add_argument("--expect", type=int, metavar="REVISION", help="refuse when it is at another revision by now")
