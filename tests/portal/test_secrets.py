"""Secrets at rest: unreadable in the database, readable to us, and after a rotation too."""

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from portal.secrets import EncryptedTextField


def test_the_database_never_sees_the_secret() -> None:
    field = EncryptedTextField()
    stored = field.get_prep_value("whsec_123")
    assert "whsec_123" not in stored
    assert field.from_db_value(stored) == "whsec_123"


def test_the_same_secret_looks_different_each_time() -> None:
    field = EncryptedTextField()
    assert field.get_prep_value("a") != field.get_prep_value("a")


def test_after_a_rotation_old_secrets_are_still_read(settings: Any) -> None:
    field = EncryptedTextField()
    settings.PORTAL_ENCRYPTION_KEYS = ["old"]
    stored = field.get_prep_value("a")
    settings.PORTAL_ENCRYPTION_KEYS = ["new", "old"]
    assert field.from_db_value(stored) == "a"
    fresh = field.get_prep_value("a")
    settings.PORTAL_ENCRYPTION_KEYS = ["new"]
    assert field.from_db_value(fresh) == "a"
    with pytest.raises(ImproperlyConfigured, match="PORTAL_ENCRYPTION_KEYS"):
        field.from_db_value(stored)


def test_no_secret_stays_no_secret() -> None:
    assert EncryptedTextField().get_prep_value("") == ""
    assert EncryptedTextField().from_db_value(None) is None
