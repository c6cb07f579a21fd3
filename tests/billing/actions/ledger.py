"""Commits of the journal, where a test stands in one transaction."""

from __future__ import annotations

from collections.abc import Callable

from django.db import connection, transaction


def check_now() -> None:
    """Judge what the commit would judge."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")


def commit(write: Callable[[], object]) -> None:
    """Do `write` as a transaction that ends here."""
    with transaction.atomic():
        write()
        check_now()
