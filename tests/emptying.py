"""How the tables are emptied behind a transactional test while a web process of the test still reads them."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.core.management.base import CommandError
from django.db import OperationalError
from django.test import TransactionTestCase

TRIES = 5


@contextmanager
def patient() -> Iterator[None]:
    """Empty once more when PostgreSQL has stopped the emptying.

    It locks every table, and a loader that reads several of them in one transaction may hold one that it waits for
    while it waits for another: of the two PostgreSQL stops the one it finds first.
    """
    empty = TransactionTestCase._fixture_teardown  # type: ignore[attr-defined]

    def until_done(case: TransactionTestCase) -> None:
        for left in reversed(range(TRIES)):
            try:
                return empty(case)
            except CommandError as refused:
                if not left or not isinstance(refused.__cause__, OperationalError):
                    raise

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", until_done)
        yield
