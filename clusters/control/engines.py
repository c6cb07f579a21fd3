"""What is known of each engine itself: who looks at it, whether it answers, when to try again."""

from __future__ import annotations

import random
import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db.models import F, Q

from clusters.models import Engine, Pool
from portal.lib import clock, leases

LEASE_SECONDS = 30
# Beat sweeps each second; a second beat, or a hint, does not make two looks of one.
MIN_INTERVAL = timedelta(seconds=0.7)
# Longer than this without an answer while somebody waits for one: it hangs.
HANGS_AFTER = timedelta(seconds=10)
BACKOFF_SECONDS = (1, 2, 4, 8, 15, 30)


def take_turn(name: str, *, owner: str) -> Engine | None:
    """Lease the right to look at the engine now; None where somebody has it, or it is too soon."""
    Engine.objects.get_or_create(name=name)
    now = clock.now()
    due = (Q(retry_at__isnull=True) | Q(retry_at__lte=now)) & (
        Q(surveyed_at__isnull=True) | Q(surveyed_at__lte=now - MIN_INTERVAL)
    )
    rows = Engine.objects.filter(due, name=name)
    _, claimed = leases.claim(rows, owner=owner, seconds=LEASE_SECONDS, limit=1)
    return claimed[0] if claimed else None


def record_answer(engine: Engine, *, taken_at: datetime, took: timedelta) -> bool:
    """It answered: keep when. False where the turn was lost meanwhile."""
    return _settle(
        engine,
        surveyed_at=taken_at,
        survey_ms=took.total_seconds() * 1000,
        failing_since=None,
        failures=0,
        retry_at=None,
        error="",
    )


def record_failure(engine: Engine, error: str) -> bool:
    """It did not answer: wait longer each time, up to half a minute, and never all at once."""
    now = clock.now()
    seconds = BACKOFF_SECONDS[min(engine.failures, len(BACKOFF_SECONDS) - 1)]
    jitter = random.uniform(0.8, 1.2)  # noqa: S311  # no secret depends on it
    return _settle(
        engine,
        failing_since=engine.failing_since or now,
        failures=F("failures") + 1,
        retry_at=now + timedelta(seconds=seconds * jitter),
        error=error[:500],
    )


def record_strays(engine: Engine, names: Sequence[str]) -> None:
    """Names of ours the engine has and no row knows; for people to look at."""
    if sorted(names) != engine.strays:
        Engine.objects.filter(pk=engine.pk).update(strays=sorted(names)[:200])


def is_answering(pool_id: int) -> bool:
    """Whether the pool's engine is worth a call now: it answered last time, and does not hang."""
    name = Pool.objects.values_list("backend", flat=True).get(pk=pool_id)
    engine = Engine.objects.filter(name=name).first()
    if engine is None:
        return True
    if engine.failing_since is not None:
        return False
    now = clock.now()
    waits = engine.lease_expires_at is not None and engine.lease_expires_at > now
    begun = (engine.lease_expires_at or now) - timedelta(seconds=LEASE_SECONDS)
    return not (waits and now - begun > HANGS_AFTER)


def _settle(engine: Engine, **columns: object) -> bool:
    token: uuid.UUID | None = engine.lease_token
    changed = Engine.objects.filter(pk=engine.pk, lease_token=token).update(
        lease_token=None, lease_expires_at=None, lease_owner="", **columns
    )
    return bool(changed)
