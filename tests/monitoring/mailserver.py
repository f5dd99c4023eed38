"""A real SMTP server on the loopback, which answers what a test tells it to."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP

from portal.supervise import ports


@dataclass
class Mailbox:
    """What arrived, and the next answers: to a recipient, and to a message's content."""

    to_recipient: str = "250 OK"
    to_content: str = "250 OK"
    letters: list[EmailMessage] = field(default_factory=list)
    port: int = 0

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        if self.to_recipient.startswith("250"):
            envelope.rcpt_tos.append(address)
        return self.to_recipient

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if self.to_content.startswith("250"):
            letter = message_from_bytes(envelope.content, policy=policy.default)
            assert isinstance(letter, EmailMessage)
            self.letters.append(letter)
        return self.to_content


# It would tell of every connection.
logging.getLogger("mail.log").setLevel(logging.WARNING)


class _Controller(Controller):
    def factory(self) -> SMTP:
        return SMTP(self.handler, enable_SMTPUTF8=True)


@contextmanager
def running() -> Iterator[Mailbox]:
    box = Mailbox()
    # Port 0 would do, but the controller looks for itself under the port that it was given.
    # Its own five seconds are few for a thread to start in on a busy machine.
    controller = _Controller(box, hostname="127.0.0.1", port=_free_port(), ready_timeout=60)
    controller.start()
    box.port = controller.port
    try:
        yield box
    finally:
        controller.stop()


def _free_port() -> int:
    with ports.listen("127.0.0.1", 0) as probe:
        port: int = probe.getsockname()[1]
    return port
