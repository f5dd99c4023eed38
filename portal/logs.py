"""Logs as one JSON line each; secrets never reach them because nobody hands them over."""

import logging
from contextvars import ContextVar

import structlog

# Set by the request-id middleware; logs and audit entries of one request carry the same one.
request_id: ContextVar[str] = ContextVar("request_id", default="")


def _with_request(_: object, __: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
    current = request_id.get()
    if current:
        event["request_id"] = current
    return event


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
