"""Workers that are killed before their first statement, before their second, and so on, until one comes through."""

import os
import signal
import time
from collections.abc import Callable
from itertools import count
from typing import Any

from django.db import connection, connections

PATIENCE = 30.0  # seconds


def until_one_comes_through(work: Callable[[int], object]) -> int:
    """How many were killed."""
    connections.close_all()
    for statement in count(1):
        pid = os.fork()
        if pid == 0:
            _named(f"dies before {statement}")
            with connection.execute_wrapper(_dies_before(statement)):
                work(statement)
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0, f"the one that should die before {statement} failed"
            return statement - 1
        _wait_until_gone(f"dies before {statement}")
    raise AssertionError("nobody can count so far")


def _dies_before(statement: int) -> Callable[..., Any]:
    left = count(statement, -1)

    def execute(run: Callable[..., Any], *arguments: Any) -> Any:
        if next(left) == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return run(*arguments)

    return execute


def _named(session: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('application_name', %s, false)", [session])


def _wait_until_gone(session: str) -> None:
    """PostgreSQL notices a dead client a moment later; until then its locks hold, and the next would do nothing."""
    with connection.cursor() as cursor:
        deadline = time.monotonic() + PATIENCE
        while True:
            cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name = %s", [session])
            if cursor.fetchone()[0] == 0:
                break
            assert time.monotonic() < deadline, f"the session of the one that {session} does not end"
            time.sleep(0.01)
    connections.close_all()
