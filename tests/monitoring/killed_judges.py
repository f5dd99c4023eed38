"""Judges that are killed before their first statement, before their second, and so on, until one comes through.

Then the same with those who respond: what a judge began at once is made to fail, so that something is left to do.

Run as a process of its own: `python -m tests.monitoring.killed_judges`. Prints how many were killed.
"""

from datetime import timedelta

import django

django.setup()

from monitoring import responses as registry  # noqa: E402  (the apps must be ready first)
from monitoring.actions import judging, responses  # noqa: E402
from monitoring.models import ResponseRun  # noqa: E402
from portal import jobs  # noqa: E402
from portal.models import Service  # noqa: E402
from tests.monitoring.dying import until_one_comes_through  # noqa: E402

APART = timedelta(seconds=20)  # more than a judge's lease
is_judging = True


@registry.register("take_back")
def take_back(run: ResponseRun) -> registry.Outcome:
    """Leaves one row each time that it is really done."""
    if is_judging:
        raise RuntimeError("not yet")
    Service.objects.create(key=f"taken-back-{Service.objects.count()}")
    return registry.Outcome("taken back")


def main() -> None:
    global is_judging
    began = jobs.database_now()
    judges = until_one_comes_through(lambda statement: judging.run(now=began + statement * APART))
    is_judging = False
    ResponseRun.objects.update(due_at=began)
    print(judges, until_one_comes_through(lambda statement: responses.execute_due()))


if __name__ == "__main__":
    main()
