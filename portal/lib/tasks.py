"""Hints to Celery. A lost hint costs time, never work: the sweep finds what it leaves."""

from __future__ import annotations

import logging
from functools import partial

from celery import current_app
from django.core.cache import cache
from django.db import transaction
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)
# A hint that nobody has begun after this long may be lost: the next one is sent all the same.
PENDING_SECONDS = 1


def hint_on_commit(task_name: str, *args: str | int) -> None:
    """Ask for `task_name(*args)` once the transaction commits, unless that is asked for already.

    The task calls `begun` first. Of twenty launches at once the first wakes a worker, and what it
    then looks for are all twenty.
    """
    transaction.on_commit(partial(_hint_once, task_name, *args), robust=True)


def begun(task_name: str, *args: str | int) -> None:
    """From here on a new hint is news again."""
    try:
        cache.delete(_key(task_name, args))
    except (RedisError, OSError) as error:
        logger.warning("%s%s could not be marked as begun: %s", task_name, args, error)


def hint(task_name: str, *args: str | int, expires: float | None = None) -> None:
    """Ask for `task_name(*args)` now; nobody need do it after `expires` seconds."""
    try:
        current_app.send_task(
            task_name, args=args, ignore_result=True, retry=False, expires=expires
        )
    except OperationalError as error:
        logger.warning("hint %s%s was lost, the sweep will find it: %s", task_name, args, error)


def _hint_once(task_name: str, *args: str | int) -> None:
    try:
        is_news = cache.add(_key(task_name, args), 1, PENDING_SECONDS)
    except (RedisError, OSError) as error:
        logger.warning("hint %s%s was lost, the sweep will find it: %s", task_name, args, error)
        return
    if is_news:
        hint(task_name, *args)


def _key(task_name: str, args: tuple[str | int, ...]) -> str:
    return f"hint:{task_name}:{':'.join(map(str, args))}"
