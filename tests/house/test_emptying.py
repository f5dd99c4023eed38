"""Tables are emptied behind a transactional test, whoever reads them at that moment."""

import threading
import time
from typing import Any

import psycopg
import pytest
from django.db import connection
from django.test import TransactionTestCase

from portal.models import Environment
from tests import make

pytestmark = pytest.mark.django_db(transaction=True)
FIRST, LAST = "portal_environment", "portal_service"
TRIES = 10  # to have the emptying stopped, not the reader


def _waits_for_us() -> bool:
    with connection.cursor() as cursor:
        # Other databases of the server are other tests' own.
        cursor.execute(
            "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database "
            "WHERE NOT l.granted AND d.datname = current_database()"
        )
        return bool(cursor.fetchone()[0])


def test_a_reader_in_whose_way_it_is_stops_it_once_and_no_more() -> None:
    """Each holds what the other waits for: PostgreSQL stops who began to wait first, which is the emptying."""
    parameters = connection.get_connection_params()
    chosen: Any = {
        name: parameters[name] for name in ("dbname", "user", "password", "host", "port") if name in parameters
    }
    failed: list[Exception] = []

    def empty() -> None:
        try:
            TransactionTestCase("__init__")._fixture_teardown()  # type: ignore[attr-defined]
        except Exception as error:
            failed.append(error)
        finally:
            connection.close()

    def is_stopped() -> bool:
        """Not where this machine stood still for a second: the emptying looked for us too early, we are stopped."""
        make.environment("production")
        emptying = threading.Thread(target=empty)
        with psycopg.connect(**chosen) as reader:
            reader.execute(f"LOCK TABLE {LAST} IN ACCESS SHARE MODE")
            emptying.start()
            while not _waits_for_us():
                time.sleep(0.02)
            try:
                reader.execute(f"LOCK TABLE {FIRST} IN ACCESS SHARE MODE")  # answered once the emptying is stopped
            except psycopg.errors.DeadlockDetected:
                stopped = False
            else:
                stopped = True
            reader.rollback()
            emptying.join()
        return stopped

    assert any(is_stopped() for _ in range(TRIES))
    assert failed == []
    assert not Environment.objects.exists()
