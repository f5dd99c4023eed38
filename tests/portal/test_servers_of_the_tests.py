"""Tests run on PostgreSQL and Valkey of their own."""

import os

import pytest
import redis
from django.conf import settings
from django.db import connection


@pytest.mark.django_db
def test_the_database_is_postgresql_and_a_database_for_tests() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_database(), current_setting('server_version_num')::int")
        name, version = cursor.fetchone()
    assert name.startswith("test_")
    assert version >= 140000


def test_valkey_answers_and_each_test_process_keeps_to_its_own_prefix() -> None:
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        assert client.ping()
    assert str(os.getpid()) in settings.PORTAL_REDIS_PREFIX


def test_a_running_portals_data_directory_is_left_alone() -> None:
    assert settings.BASE_DIR not in settings.DATA_DIR.parents
