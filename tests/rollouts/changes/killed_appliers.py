"""Workers that apply what is due, killed before their first statement, before their second, and so on.

Run as a process of its own: `python -m tests.rollouts.changes.killed_appliers`. Prints how many were killed.
"""

import django

django.setup()

from rollouts import tasks  # noqa: E402  (the apps must be ready first)
from tests.monitoring.dying import until_one_comes_through  # noqa: E402

if __name__ == "__main__":
    print(until_one_comes_through(lambda _: tasks.apply_changes.run()))
