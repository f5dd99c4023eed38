"""A page's route: its path without what tells one visit from the other, so that it can be a label."""

import re

LONGEST = 100  # characters
# As static/js/browser.js has it: numbers, four digits in a row, addresses, UUIDs and hashes, long words with a digit
# in them, and what is longer than any name.
IDENTIFIER = re.compile(
    r"\A[0-9]+\Z|[0-9]{4}|@|%40|\A(?=.*[0-9])[A-Za-z0-9_~.%-]{16,}\Z|\A(?=.*[0-9])[0-9A-Fa-f-]{8,}\Z|.{40}", re.DOTALL
)
SPACE = re.compile(r"\s+")


def route(page: str) -> str:
    """`/orders/1234/items?x=1` is `/orders/:id/items`. A name that is no path (`Checkout`) stays what it is."""
    path = SPACE.sub(" ", page).strip()
    if path.startswith("/"):
        path = re.split(r"[?#]", path, maxsplit=1)[0]
        path = "/".join(":id" if IDENTIFIER.search(part) else part for part in path.split("/"))
    return path[:LONGEST]
