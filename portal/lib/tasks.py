"""Hints to Celery. A lost hint costs time, never work: the sweep finds what it leaves."""

from __future__ import annotations

import logging
from functools import partial

from celery import current_app
from django.db import transaction
from kombu.exceptions import OperationalError

logger = logging.getLogger(__name__)


def hint_on_commit(task_name: str, *args: str | int) -> None:
    """Ask for `task_name(*args)` once the transaction commits."""
    transaction.on_commit(partial(hint, task_name, *args), robust=True)


def hint(task_name: str, *args: str | int, expires: float | None = None) -> None:
    """Ask for `task_name(*args)` now; nobody need do it after `expires` seconds."""
    try:
        current_app.send_task(
            task_name, args=args, ignore_result=True, retry=False, expires=expires
        )
    except OperationalError as error:
        logger.warning("hint %s%s was lost, the sweep will find it: %s", task_name, args, error)
