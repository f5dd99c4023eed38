"""Logs as one JSON line each; secrets never reach them because nobody hands them over."""

import logging
import time
from contextvars import ContextVar

import structlog
from kombu.exceptions import KombuError
from redis import RedisError

# Set by the request-id middleware; logs and audit entries of one request carry the same one.
request_id: ContextVar[str] = ContextVar("request_id", default="")


def _with_request(_: object, __: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
    current = request_id.get()
    if current:
        event["request_id"] = current
    return event


class Outage(logging.Filter):
    """Beat's word on pokes that it cannot send while Valkey is gone: the reason in one line, and that now and then.

    By itself it writes two stack traces for each of the ten that are due each second. Any other error keeps its own.
    """

    EVERY = 10.0  # seconds

    def __init__(self) -> None:
        super().__init__()
        self._said = float("-inf")

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        # Celery's own error says which task it was about; why is what that was made of.
        reason = error.__context__ if error is not None else None
        if not isinstance(reason, KombuError | RedisError | OSError):
            return True
        now = time.monotonic()
        if now - self._said < self.EVERY:
            return False
        self._said = now
        record.msg, record.args, record.exc_info = "no sweep can be poked: %s", (reason,), None
        return True


SHARED: list[structlog.types.Processor] = [
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    _with_request,
]


def configure() -> None:
    structlog.configure(
        processors=[
            *SHARED,
            structlog.processors.format_exc_info,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def formatter() -> logging.Formatter:
    """What settings.LOGGING names: called once when logging is set up."""
    configure()
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=SHARED,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
    )
