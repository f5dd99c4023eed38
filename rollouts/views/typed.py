"""What was typed into a form with rows that come and go: read leniently, kept as it is, judged elsewhere."""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict

from portal import posted
from portal.errors import Invalid

TOKEN = re.compile(r"[a-z0-9]{1,12}\Z")
NUMBER = re.compile(r"[+-]?[0-9]{1,30}(?:[.,][0-9]{1,30})?(?:[eE][+-]?[0-9]{1,3})?\Z")


class Typed:
    """The fields of one form."""

    def __init__(self, posted: QueryDict) -> None:
        self._posted = posted

    def raw(self, name: str) -> str:
        return self._posted.get(name, "").replace("\r\n", "\n")

    def text(self, name: str) -> str:
        return self.raw(name).strip()

    def because(self) -> str:
        """The reason; a novel is refused by name."""
        value = self.text("because")
        if len(value) > posted.LONGEST_TEXT:
            raise Invalid.of("because", f"is longer than {posted.LONGEST_TEXT} characters")
        return value

    def whole(self, name: str, otherwise: int) -> int:
        """A revision that a hidden field remembers."""
        text = self.text(name)
        return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else otherwise

    def ticked(self, name: str) -> bool:
        return name in self._posted

    def all(self, name: str) -> list[str]:
        return [value.strip() for value in self._posted.getlist(name) if value.strip()]

    def tokens(self, name: str, most: int) -> list[str]:
        """The names of a list's rows, in their order."""
        found = [value for value in dict.fromkeys(self._posted.getlist(name)) if TOKEN.match(value)]
        if len(found) > most:
            raise Invalid.of(name, f"at most {most}")
        return found


def fresh(taken: Iterable[str]) -> str:
    """The name of one more row."""
    return str(1 + max((int(one) for one in taken if one.isdecimal()), default=0))


def number(text: str) -> Any:
    """The number that was typed; what is none stays the text, for whoever judges it to say so."""
    if not NUMBER.match(text):
        return text
    if text.lstrip("+-").isdigit():
        return int(text)
    value = float(text.replace(",", "."))
    return value if math.isfinite(value) else text


def lines(text: str) -> list[str]:
    """One thing a line, without the empty ones."""
    return [line.strip() for line in text.split("\n") if line.strip()]


def shown(value: float) -> str:
    """A number as it is typed."""
    return repr(value)


class Faults:
    """What is wrong, handed out to the fields that it is about; the rest stands above the form."""

    def __init__(self, errors: Mapping[str, str]) -> None:
        self.left = dict(errors)
        self.count = len(self.left)

    def take(self, *paths: str) -> list[str]:
        """The messages about these fields and their parts."""
        found = [at for at in self.left for path in paths if at == path or at.startswith((f"{path}.", f"{path}["))]
        return [self.left.pop(at) for at in dict.fromkeys(found)]

    def rest(self) -> list[str]:
        return [f"{at}: {message}" if at else message for at, message in self.left.items()]


def gone_to(request: HttpRequest, address: str) -> HttpResponse:
    """To another page, also from a form that HTMX has sent."""
    if getattr(request, "htmx", False):
        return HttpResponse(headers={"HX-Redirect": address})
    return HttpResponseRedirect(address)
