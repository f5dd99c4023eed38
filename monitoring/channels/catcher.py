"""Where e-mail goes while no server is configured: a line in the log, and a file that any mail program opens."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog
from django.conf import settings
from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend

log = structlog.get_logger(__name__)

KEPT = 200  # files; the oldest go


class Backend(BaseEmailBackend):
    """What EMAIL_BACKEND names when PORTAL_EMAIL_URL is not set."""

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        folder: Path = settings.MAIL_FOLDER
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for message in email_messages:
            made = message.message()
            # Named by its identity: a message that is sent again is the same file.
            name = "".join(c if c.isalnum() or c in "-." else "_" for c in str(made["Message-ID"]).strip("<>"))
            path = folder / f"{name[:150]}.eml"
            path.write_bytes(made.as_bytes())
            log.info("mail.caught", to=message.to, subject=message.subject, file=str(path))
        _forget_oldest(folder)
        return len(email_messages)


def _forget_oldest(folder: Path) -> None:
    def age(path: Path) -> Any:
        with suppress(FileNotFoundError):
            return path.stat().st_mtime_ns
        return 0

    for path in sorted(folder.glob("*.eml"), key=age, reverse=True)[KEPT:]:
        path.unlink(missing_ok=True)
