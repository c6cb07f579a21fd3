"""Hints to Celery, sent when the transaction commits. A lost hint costs time, never work."""

from __future__ import annotations

import logging
from functools import partial

from celery import current_app
from django.db import transaction
from kombu.exceptions import OperationalError

logger = logging.getLogger(__name__)


def hint_on_commit(task_name: str, *args: str | int) -> None:
    """Ask for `task_name(*args)` after commit; the sweep finds what a lost hint leaves."""
    transaction.on_commit(partial(_send, task_name, args), robust=True)


def _send(task_name: str, args: tuple[str | int, ...]) -> None:
    try:
        current_app.send_task(task_name, args=args, ignore_result=True, retry=False)
    except OperationalError as error:
        logger.warning("hint %s%s was lost, the sweep will find it: %s", task_name, args, error)
