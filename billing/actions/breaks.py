"""Differences that somebody has to look at."""

from __future__ import annotations

import logging
from collections.abc import Collection
from datetime import datetime

from django.db import transaction

from accounts.access import require_staff
from accounts.actions import audit
from accounts.actor import Actor
from billing.choices import BreakKind
from billing.models import ReconciliationBreak
from billing.queries.books import Difference
from portal.lib import clock
from portal.lib.errors import InvalidInput

logger = logging.getLogger(__name__)


def open_break(found: Difference) -> ReconciliationBreak:
    """Note a difference, loudly where it is new."""
    now = clock.now()
    known, is_new = ReconciliationBreak.objects.update_or_create(
        kind=found.kind,
        subject=found.subject[:120],
        resolved_at=None,
        defaults={
            "expected": found.expected[:300],
            "actual": found.actual[:300],
            "last_seen_at": now,
        },
        create_defaults={
            "expected": found.expected[:300],
            "actual": found.actual[:300],
            "opened_at": now,
            "last_seen_at": now,
        },
    )
    if is_new:
        logger.error(
            "%s: %s: expected %s, is %s",
            found.kind.label, found.subject, found.expected, found.actual,
        )  # fmt: skip
    return known


def close_unseen(kinds: Collection[BreakKind], *, since: datetime) -> int:
    """Close the breaks of `kinds` that nothing has found since; returns how many."""
    return ReconciliationBreak.objects.filter(
        kind__in=kinds, resolved_at__isnull=True, last_seen_at__lt=since
    ).update(resolved_at=clock.now(), resolution="A later reconciliation did not find it.")


@transaction.atomic
def explain_break(actor: Actor, break_id: int, *, why: str) -> None:
    """Staff close a break in words. It opens again if it is found again."""
    require_staff(actor)
    if not why.strip() or len(why) > 300 or "\0" in why:
        raise InvalidInput.of(why="Say why it is settled, in at most 300 characters.")
    ReconciliationBreak.objects.filter(pk=break_id, resolved_at__isnull=True).update(
        resolved_at=clock.now(), resolution=why.strip()
    )
    audit.record(actor, "break.explained", team=None, object_id=str(break_id), memo=why.strip())
