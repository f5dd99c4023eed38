"""What the worker does when its broker dies under it."""

from typing import Any

import pytest
from celery import Celery
from celery.worker import consumer as celerys
from django.conf import settings
from kombu import Connection, Producer, Queue

from portal.consumer import Consumer
from portal.supervise.valkey import Valkey

pytestmark = pytest.mark.filterwarnings("ignore::celery.exceptions.CPendingDeprecationWarning")


def lost(broker: Valkey, kind: type[celerys.Consumer]) -> celerys.Consumer:
    """A consumer whose broker died while a message was under way, and which has just heard of it."""
    app = Celery("test", broker=broker.url, set_as_current=False)
    connection = Connection(broker.url, transport_options={"max_retries": 1})
    queue = Queue("q")
    bound: Any = queue(connection.default_channel)
    bound.declare()
    Producer(connection.default_channel).publish({"x": 1}, routing_key="q")
    assert bound.get(no_ack=False) is not None
    consumer = kind.__new__(kind)
    consumer.app, consumer.connection = app, connection
    broker.child.stop()
    return consumer


def test_it_lets_go_of_a_connection_that_died_with_messages_under_way(mortal_valkey: Valkey) -> None:
    consumer = lost(mortal_valkey, Consumer)
    consumer.on_connection_error_after_connected(ConnectionError("gone"))
    assert consumer.connection is None


def test_celerys_own_would_end_of_it(mortal_valkey: Valkey) -> None:
    """Once this fails, `portal.consumer` is needed no more."""
    with pytest.raises(AttributeError):
        lost(mortal_valkey, celerys.Consumer).on_connection_error_after_connected(ConnectionError("gone"))


def test_it_is_the_one_that_the_worker_uses() -> None:
    assert settings.CELERY["worker_consumer"] == "portal.consumer:Consumer"
