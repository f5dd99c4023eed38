"""What the commands that change things share: on whose behalf they act, and how a refusal ends them."""

import getpass
import json
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError
from django.core.serializers.json import DjangoJSONEncoder
from django.db import InterfaceError, OperationalError

from portal.audit import Actor, Automaton
from portal.errors import Forbidden, Invalid, Refused, Stale, Unavailable
from portal.models import User

LARGEST_INPUT = 4 * 1024 * 1024  # bytes


def add_actor(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--as", dest="username", metavar="USERNAME",
        help="act as this person, with what their roles allow; by default the command line itself acts",
    )  # fmt: skip


def actor(username: str | None) -> Actor:
    """The person named; without one the command line of whoever is signed in to the operating system."""
    if username is None:
        return Automaton(f"command line of {_login()}")
    # Bytes that are no UTF-8 arrive as half characters: nobody is called so.
    known = username.encode("utf-8", "replace").decode()
    person = User.objects.filter(username=known, is_active=True).first()
    if person is None:
        raise CommandError(f"--as: there is no active person {known}")
    return person


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return "somebody"


@contextmanager
def refusals() -> Iterator[None]:
    """What an action refuses becomes the command's last sentence on standard error, and exit code 1."""
    try:
        yield
    except (Refused, Invalid, Forbidden, Stale, Unavailable) as error:
        raise CommandError(str(error)) from None
    except (OperationalError, InterfaceError) as error:
        raise CommandError(f"the store does not answer: {str(error).strip()}") from None


def misused(sentence: str) -> CommandError:
    """The command line itself is wrong: exit code 2, as argparse ends."""
    return CommandError(sentence, returncode=2)


def given_text(source: str) -> str:
    """`-` is standard input, `@FILE` a file, anything else itself."""
    try:
        if source == "-":
            read = sys.stdin.buffer.read(LARGEST_INPUT + 1)
        elif source.startswith("@"):
            with Path(source[1:]).open("rb") as file:
                read = file.read(LARGEST_INPUT + 1)
        else:
            return source
    except OSError as error:
        raise CommandError(f"cannot read {source.removeprefix('@')}: {error.strerror}") from None
    if len(read) > LARGEST_INPUT:
        raise CommandError(f"{source.removeprefix('@')} is larger than {LARGEST_INPUT} bytes")
    try:
        return read.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CommandError(f"{source.removeprefix('@')} is not UTF-8: {error.reason} at byte {error.start}") from None


def as_json(value: Any) -> str:
    return json.dumps(value, cls=DjangoJSONEncoder, indent=2, ensure_ascii=False)
