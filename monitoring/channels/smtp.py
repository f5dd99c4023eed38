"""Django's SMTP backend with an end: a server that answers slowly cannot hold a message longer than its lease."""

import smtplib
import time
from typing import Any

from django.core.mail.backends.smtp import EmailBackend


class _Hurried:
    """An SMTP conversation in which every wait is only as long as what is left of the whole."""

    sock: Any

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.ends_at = time.monotonic() + options["timeout"]
        super().__init__(*arguments, **options)

    def send(self, s: Any) -> None:
        self._hurry()
        super().send(s)  # type: ignore[misc]

    def getreply(self) -> tuple[int, bytes]:
        self._hurry()
        reply: tuple[int, bytes] = super().getreply()  # type: ignore[misc]
        return reply

    def _hurry(self) -> None:
        if self.sock:
            self.sock.settimeout(max(0.1, self.ends_at - time.monotonic()))


class _Plain(_Hurried, smtplib.SMTP):
    """From the start in the clear; STARTTLS may follow."""


class _Encrypted(_Hurried, smtplib.SMTP_SSL):
    """Encrypted from the first byte."""


class Backend(EmailBackend):
    """What EMAIL_BACKEND names when PORTAL_EMAIL_URL is set."""

    @property
    def connection_class(self) -> Any:
        return _Encrypted if self.use_ssl else _Plain
