"""Judges that are killed before their first statement, before their second, and so on, until one comes through.

Then the same with those who respond: what a judge began at once is made to fail, so that something is left to do.

Run as a process of its own: `python -m tests.monitoring.killed_judges`. Prints how many were killed.
"""

import os
import signal
import time
from collections.abc import Callable
from datetime import timedelta
from itertools import count
from typing import Any

import django
from django.db import connection, connections

django.setup()

from monitoring import responses as registry  # noqa: E402  (the apps must be ready first)
from monitoring.actions import judging, responses  # noqa: E402
from monitoring.models import ResponseRun  # noqa: E402
from portal import jobs  # noqa: E402
from portal.models import Service  # noqa: E402

APART = timedelta(seconds=20)  # more than a judge's lease
PATIENCE = 30.0  # seconds
is_judging = True


@registry.register("take_back")
def take_back(run: ResponseRun) -> registry.Outcome:
    """Leaves one row each time that it is really done."""
    if is_judging:
        raise RuntimeError("not yet")
    Service.objects.create(key=f"taken-back-{Service.objects.count()}")
    return registry.Outcome("taken back")


def dies_before(statement: int) -> Callable[..., Any]:
    left = count(statement, -1)

    def execute(run: Callable[..., Any], *arguments: Any) -> Any:
        if next(left) == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return run(*arguments)

    return execute


def named(session: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('application_name', %s, false)", [session])


def wait_until_gone(session: str) -> None:
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


def until_one_comes_through(work: Callable[[int], object]) -> int:
    """How many were killed."""
    connections.close_all()
    for statement in count(1):
        pid = os.fork()
        if pid == 0:
            named(f"dies before {statement}")
            with connection.execute_wrapper(dies_before(statement)):
                work(statement)
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0, f"the one that should die before {statement} failed"
            return statement - 1
        wait_until_gone(f"dies before {statement}")
    raise AssertionError("nobody can count so far")


def main() -> None:
    global is_judging
    began = jobs.database_now()
    judges = until_one_comes_through(lambda statement: judging.run(now=began + statement * APART))
    is_judging = False
    ResponseRun.objects.update(due_at=began)
    print(judges, until_one_comes_through(lambda statement: responses.execute_due()))


if __name__ == "__main__":
    main()
