"""Passes requests to stop on to the engines, and ends what runs there without a reason to."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta

from clusters.backends.base import Backend, BackendUnavailable
from clusters.backends.registry import backend
from clusters.choices import AttemptState
from clusters.control.engines import is_answering
from clusters.models import Attempt, Side
from portal.lib import clock

logger = logging.getLogger(__name__)
# A request an engine lost (Slurm's controller forgets what it acknowledged just before it dies)
# is made again this long after the grace.
RESEND = timedelta(seconds=20)


def pass_on_stops(pool_id: int) -> None:
    """Tell the engine of every stop asked for, once and again where it does not heed."""
    stopping = Attempt.objects.filter(
        state__in=[AttemptState.SUBMITTED, AttemptState.RUNNING],
        pool=pool_id,
        workload__stop_requested_at__isnull=False,
    ).select_related("workload__pool")
    for attempt in stopping:
        pool = attempt.workload.pool
        sent = attempt.stop_sent_at
        if sent is not None and sent >= _again(pool.grace_seconds):
            continue
        if not is_answering(pool_id):
            return
        _stop(backend(pool.backend), attempt, pool.grace_seconds)


def stop_strays(engine: Backend, names: Sequence[str], *, taken_at: datetime) -> list[str]:
    """End the attempts that run although they ended for us; returns names no row knows.

    One that ended after the look, which was `taken_at`, is none of them, and one whose next
    attempt is about to take it over is left alone.
    """
    known = {
        attempt.external_name: attempt
        for attempt in Attempt.objects.filter(external_name__in=names).select_related(
            "workload__pool"
        )
    }
    for attempt in known.values():
        if attempt.ended_at is None or attempt.ended_at >= taken_at or _has_successor(attempt):
            continue
        grace = attempt.workload.pool.grace_seconds
        if attempt.stop_sent_at is None or attempt.stop_sent_at < _again(grace):
            logger.warning("%s has ended but is still there: stopping it", attempt.external_name)
            _stop(engine, attempt, grace)
    sides = Side.objects.filter(external_name__in=set(names) - known.keys())
    ours = {*known, *sides.values_list("external_name", flat=True)}
    return [name for name in names if name not in ours]


def _has_successor(attempt: Attempt) -> bool:
    return Attempt.objects.filter(
        workload=attempt.workload_id,
        number=attempt.number + 1,
        state__in=[AttemptState.INTENDED, AttemptState.PLACED],
    ).exists()


def _again(grace_seconds: int) -> datetime:
    """What was sent before this is sent again."""
    return clock.now() - timedelta(seconds=grace_seconds) - RESEND


def _stop(engine: Backend, attempt: Attempt, grace_seconds: int) -> None:
    try:
        engine.stop(attempt.external_name, grace_seconds=grace_seconds)
    except BackendUnavailable as error:
        logger.warning("%s could not be stopped yet: %s", attempt.external_name, error)
        return
    # Noted after it was sent: whoever dies in between sends it twice, which is no matter, where
    # the other order would leave it unsent until the next round.
    Attempt.objects.filter(pk=attempt.pk).update(stop_sent_at=clock.now())
