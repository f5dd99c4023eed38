"""How an action says no. The doors translate these; nobody else catches them."""

from collections.abc import Mapping
from typing import Self


class Refused(Exception):
    """A rule forbids it now. The message is what a page shows; machines get 409."""


class Forbidden(Exception):
    """This actor may not do it. Machines get 403."""


class Stale(Exception):
    """The caller decided on an older version than the one that is there. Machines get 412."""


class Invalid(Exception):
    """The input is wrong. Carries {field path: message}; machines get 400 with each field named."""

    def __init__(self, errors: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{field}: {message}" if field else message for field, message in errors.items()))
        self.errors: dict[str, str] = dict(errors)

    @classmethod
    def of(cls, field: str, message: str) -> Self:
        return cls({field: message})


class Unavailable(Exception):
    """A part that we need is down or overloaded. Machines get 503 with Retry-After."""

    def __init__(self, message: str, *, retry_after: int = 2) -> None:
        super().__init__(message)
        self.retry_after = retry_after
