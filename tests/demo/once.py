"""The demo, loaded once for all tests of a module that only look at it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.db import transaction
from django.test import override_settings

from portal.management.demo import loading
from portal.management.demo.loading import Loaded


@contextmanager
def demo(django_db_blocker: Any, data_dir: Path) -> Iterator[Loaded]:
    """In a transaction of its own, taken back at the end."""
    quick = override_settings(PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"])
    with quick, django_db_blocker.unblock(), transaction.atomic():
        yield loading.load(data_dir)
        transaction.set_rollback(True)
