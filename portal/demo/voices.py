"""What customers say: in English and Polish, with stars that follow what they have just been through."""

import queue
import random
import threading
import time
from dataclasses import dataclass
from typing import Any

from portal.demo import phrases, scene
from portal.demo.doors import Away, Door, Patience, Refused
from portal.demo.people import Customer

SLOW = 1.0  # seconds: from here on people notice
# How likely a visit makes somebody write.
CONTENT, ANNOYED, ANGRY = 0.006, 0.05, 0.5
# At most so often, whatever happens: people who are asked to wait do not write either.
AT_MOST_EVERY = 1.2  # seconds
MOST_WAITING = 50


@dataclass(frozen=True, slots=True)
class Said:
    mood: str
    rating: int
    kind: str


class Voices:
    """Visits only drop what was said into a queue; a thread of its own posts it."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._waiting: queue.Queue[dict[str, Any]] = queue.Queue(MOST_WAITING)
        self._dice = random.Random()
        self._not_before = 0.0
        self.posted = 0

    def hear(self, customer: Customer, build: str, version: str, *, errors: int, slowest: float, angry: bool) -> None:
        """Perhaps this customer writes something after the visit."""
        annoyed = errors > 1 or slowest > 2 * SLOW
        likely = ANGRY if angry else ANNOYED if annoyed else CONTENT
        if self._dice.random() >= likely or time.monotonic() < self._not_before:
            return
        self._not_before = time.monotonic() + AT_MOST_EVERY
        said = self._said(errors=errors, slowest=slowest, angry=angry)
        labels = {"flag": scene.FLAG, "variant": build, **({"release": version} if version else {})}
        entry = {
            "service": scene.SERVICE,
            "environment": scene.ENVIRONMENT,
            "kind": said.kind,
            "rating": said.rating,
            "text": self._dice.choice(phrases.PHRASES[said.mood][customer.language]),
            "unit": customer.key,
            "language": customer.language,
            "page": self._dice.choice(phrases.PAGES),
            "labels": labels,
        }
        try:
            self._waiting.put_nowait(entry)
        except queue.Full:
            pass  # somebody closed the form again

    def run(self, stopping: threading.Event) -> None:
        patience = Patience(stopping)
        while not stopping.is_set():
            try:
                entry = self._waiting.get(timeout=0.5)
            except queue.Empty:
                continue
            while not stopping.is_set():
                try:
                    self._door.post("/api/v1/feedback/", entry)
                except Away as away:
                    patience.failed(away.after)
                    continue
                except Refused as refused:
                    print(f"feedback was refused: {refused}")
                    patience.failed(2.0)
                else:
                    self.posted += 1
                    patience.succeeded()
                break

    def _said(self, *, errors: int, slowest: float, angry: bool) -> Said:
        pick = self._dice.random()
        if angry:
            return Said("angry", 1 if pick < 0.8 else 2, "bug" if pick < 0.6 else "other")
        if errors > 1:
            return Said("broken", 1 if pick < 0.6 else 2, "bug")
        if slowest > 2 * SLOW:
            return Said("slow", 2 if pick < 0.6 else 3, "bug" if pick < 0.5 else "other")
        if pick < 0.72:
            return Said("content", 5 if pick < 0.45 else 4, "praise" if pick < 0.5 else "other")
        if pick < 0.9:
            return Said("wish", 4 if pick < 0.82 else 3, "idea")
        return Said("unsure", 3, "question")
