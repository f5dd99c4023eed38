"""The worker's end of the broker: it outlives the broker's death, whatever was under way."""

import structlog
from celery.worker import consumer

log = structlog.get_logger(__name__)


class Consumer(consumer.Consumer):
    """Celery's own, with one gap closed."""

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Let go of the lost connection.

        Kombu closes it twice. Where messages were under way, and giving them back failed the first time, the second
        asks a transport that is gone for its address: an AttributeError, of which Celery would end the worker. By then
        nothing of the connection is left, and what it held comes again after the visibility timeout.
        """
        try:
            super().on_connection_error_after_connected(exc)
        except AttributeError as error:
            log.warning("consumer.closed_twice", error=str(error))
