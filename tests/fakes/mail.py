"""A mail server that is away."""

from __future__ import annotations

from smtplib import SMTPServerDisconnected
from typing import Any, NoReturn

from django.core.mail.backends.base import BaseEmailBackend


class BrokenBackend(BaseEmailBackend):
    """Every mail meets a closed connection."""

    def send_messages(self, email_messages: Any) -> NoReturn:
        raise SMTPServerDisconnected("the mail server is away")
