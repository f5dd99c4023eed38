"""Starts what died again, ever more slowly while it keeps dying."""

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from portal.supervise.children import Child
from portal.supervise.errors import Unstartable
from portal.supervise.output import Output

FIRST_DELAY = 0.2  # seconds until the first restart; doubled for each further one
LONGEST_DELAY = 30.0
CALM_AFTER = 60.0  # seconds of running after which past deaths are forgotten
STARTS_AT_MOST = 4  # times that a child may die before everything was ready once


@dataclass
class _Watched:
    child: Child
    started_at: float
    deaths: int = 0
    restart_at: float | None = None


class Watch:
    """`on_restart` is told after each restart; `booting` is true until everything was ready once."""

    def __init__(self, output: Output, on_restart: Callable[[], None]) -> None:
        self.output = output
        self.on_restart = on_restart
        self.booting = True
        self._watched: list[_Watched] = []

    @property
    def children(self) -> list[Child]:
        return [one.child for one in self._watched]

    def start(self, child: Child) -> None:
        child.start()
        self._watched.append(_Watched(child, time.monotonic()))

    def stop(self, children: Collection[Child]) -> None:
        """These shall run no longer: end them all, and do not start them again."""
        self._watched = [one for one in self._watched if one.child not in children]
        for child in children:
            child.signal(child.stop_by)
        for child in children:
            child.wait_stopped()

    def look(self) -> float:
        """Restart what is due, and say in how many seconds to look again if nothing happens before."""
        now = time.monotonic()
        return min((self._look_at(one, now) for one in self._watched), default=LONGEST_DELAY)

    def _look_at(self, one: _Watched, now: float) -> float:
        if one.restart_at is None:
            if one.child.running:
                if now - one.started_at > CALM_AFTER:
                    one.deaths = 0
                return LONGEST_DELAY
            self._note_death(one, now)
        assert one.restart_at is not None
        if now < one.restart_at:
            return one.restart_at - now
        try:
            one.child.start()
        except OSError as error:
            self.output.say(f"{one.child.name} cannot be started: {error}")
            self._note_death(one, now)
            return FIRST_DELAY
        one.started_at, one.restart_at = now, None
        self.on_restart()
        return LONGEST_DELAY

    def _note_death(self, one: _Watched, now: float) -> None:
        one.deaths += 1
        one.child.sweep_group()
        if self.booting and one.deaths >= STARTS_AT_MOST:
            raise Unstartable(f"{one.child.name} does not start ({_ending(one.child)}): its last lines say why")
        delay = min(FIRST_DELAY * 2 ** (one.deaths - 1), LONGEST_DELAY)
        one.restart_at = now + delay
        self.output.say(f"{one.child.name} ended ({_ending(one.child)}): starting it again in {delay:.1f} s")


def _ending(child: Child) -> str:
    code = child.exit_code
    if code is not None and code < 0:
        return f"signal {-code}"
    return f"exit code {code}"
