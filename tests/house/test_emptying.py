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


def _waits_for_us() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return bool(cursor.fetchone()[0])


def test_a_reader_in_whose_way_it_is_stops_it_once_and_no_more() -> None:
    """Each holds what the other waits for: PostgreSQL stops who began to wait first, which is the emptying."""
    make.environment("production")
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

    with psycopg.connect(**chosen) as reader:
        reader.execute(f"LOCK TABLE {LAST} IN ACCESS SHARE MODE")
        emptying = threading.Thread(target=empty)
        emptying.start()
        while not _waits_for_us():
            time.sleep(0.02)
        reader.execute(f"LOCK TABLE {FIRST} IN ACCESS SHARE MODE")  # answered once the emptying is stopped
        reader.commit()
        emptying.join()
    assert failed == []
    assert not Environment.objects.exists()
