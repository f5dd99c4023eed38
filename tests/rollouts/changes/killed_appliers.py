"""Workers that apply what is due, killed before their first statement, before their second, and so on.

Run as a process of its own: `python -m tests.rollouts.changes.killed_appliers`. Prints how many were killed.
"""

import os
import signal
from collections.abc import Callable
from itertools import count
from typing import Any

import django
from django.db import connection, connections

django.setup()

from rollouts import tasks  # noqa: E402  (the apps must be ready first)


def dies_before(statement: int) -> Callable[..., Any]:
    left = count(statement, -1)

    def execute(run: Callable[..., Any], *arguments: Any) -> Any:
        if next(left) == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return run(*arguments)

    return execute


def until_one_comes_through() -> int:
    """How many were killed."""
    connections.close_all()
    for statement in count(1):
        pid = os.fork()
        if pid == 0:
            with connection.execute_wrapper(dies_before(statement)):
                tasks.apply_changes.run()
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        if os.WIFEXITED(status):
            return statement - 1
    raise AssertionError("nobody can count so far")


if __name__ == "__main__":
    print(until_one_comes_through())
