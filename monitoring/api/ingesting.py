"""What the ways in share: whoever is refused there is told, and it is noted where people can see it."""

from collections.abc import Callable
from typing import Any, cast

import structlog
from django.db import DatabaseError
from rest_framework.request import Request
from rest_framework.response import Response

from monitoring.actions import rejections
from portal.audit import Actor

log = structlog.get_logger(__name__)


class Ingesting:
    """A door through which things come in. Before Door or DoorSet in the bases."""

    source: str  # as people read it among the rejections
    request: Any

    def handle_exception(self, error: Exception) -> Any:
        """A request that was refused whole is one rejection. Not that of a stranger, and not each of a flood."""
        response: Any = super().handle_exception(error)  # type: ignore[misc]
        by = cast(Actor | None, getattr(self.request, "by", None))
        if by is not None and 400 <= response.status_code < 500 and response.status_code != 429:
            self.note_refusal(f"request refused ({response.status_code}): {error}", by)
        return response

    def note_refusal(self, reason: str, by: Actor) -> None:
        try:
            rejections.note(self.source, reason, by=by)
        except DatabaseError:
            # The sender's answer must not hang on our note of it.
            log.exception("ingest.refusal_not_noted", source=self.source)


class Repeatable(Ingesting):
    """One that takes everything again without harm by itself: an Idempotency-Key would add nothing but a row."""

    def _answer(self, request: Request, act: Callable[[], Response]) -> Response:
        return act()
