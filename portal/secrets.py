"""Secrets that must be read back (webhook keys, tokens): encrypted at rest, with rotation."""

from base64 import urlsafe_b64encode
from functools import lru_cache
from hashlib import sha256
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import models


@lru_cache(maxsize=4)
def _box(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(urlsafe_b64encode(sha256(key.encode()).digest())) for key in keys])


def box() -> MultiFernet:
    """The newest key encrypts; every key of PORTAL_ENCRYPTION_KEYS decrypts."""
    return _box(tuple(settings.PORTAL_ENCRYPTION_KEYS))


class EncryptedTextField(models.TextField[str, str]):
    """Text that the database sees only encrypted (Fernet: AES-128-CBC with HMAC-SHA-256)."""

    def get_prep_value(self, value: Any) -> Any:
        if value in (None, ""):
            return value
        return box().encrypt(str(value).encode()).decode()

    def from_db_value(self, value: str | None, *_: Any) -> str | None:
        if not value:
            return value
        try:
            return box().decrypt(value.encode()).decode()
        except InvalidToken:
            raise ImproperlyConfigured(
                "a stored secret cannot be read: PORTAL_ENCRYPTION_KEYS lacks the key that it was written with"
            ) from None
