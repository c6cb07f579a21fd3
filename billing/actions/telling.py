"""Mail that goes out once, however many sweeps look for it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from smtplib import SMTPException
from typing import Any

from django.db.models import QuerySet

from portal.lib import clock

logger = logging.getLogger(__name__)


def tell_once(rows: QuerySet[Any], send: Callable[[], None], *, noted: str = "told_at") -> bool:
    """Claim the one row of `rows`, commit, then send: of two senders one does.

    The row's column `noted` says when. A mail that cannot be sent is tried again by the next
    sweep; anything else that goes wrong leaves the row claimed and is raised.
    """
    if not rows.filter(**{f"{noted}__isnull": True}).update(**{noted: clock.now()}):
        return False
    try:
        send()
    except (OSError, SMTPException):
        logger.exception("mail could not be sent")
        rows.update(**{noted: None})
        return False
    return True
