"""One bulk look at each engine per tick."""

from __future__ import annotations

import logging
from datetime import timedelta

from django.db.models import QuerySet

from clusters.actions.pools import refresh_inventory
from clusters.backends.base import Backend, BackendUnavailable, Observation, Phase
from clusters.backends.registry import backend
from clusters.choices import AttemptState
from clusters.control.apply import apply_observation, end_lost
from clusters.models import Attempt, Pool
from portal.lib import clock

logger = logging.getLogger(__name__)
# An attempt its engine does not know is given this long before it counts as lost.
UNKNOWN_GRACE = timedelta(minutes=2)


def observe_pool(pool: Pool) -> None:
    """Bring every running attempt of `pool` to what its engine says of it now."""
    engine = backend(pool.backend)
    running = Attempt.objects.filter(state=AttemptState.RUNNING, workload__pool=pool)
    attempts = {attempt.external_name: attempt for attempt in running}
    if not attempts:
        return
    try:
        seen = engine.observe(attempts)
    except BackendUnavailable as error:
        logger.warning("%s does not answer, its work is left as it is: %s", pool.name, error)
        return
    _mark_seen(running, seen)
    for name, attempt in attempts.items():
        if name in seen:
            apply_observation(attempt, seen[name])
        elif _is_lost(attempt):
            end_lost(attempt)


def _mark_seen(running: QuerySet[Attempt], seen: dict[str, Observation]) -> None:
    alive = [name for name, observation in seen.items() if observation.phase == Phase.RUNNING]
    running.filter(external_name__in=alive).update(observed_at=clock.now())


def _is_lost(attempt: Attempt) -> bool:
    last = attempt.observed_at or attempt.started_at
    return last is None or clock.now() - last > UNKNOWN_GRACE


def refresh_pools() -> None:
    """Ask every engine what it has and whether it may start work."""
    for pool in Pool.objects.all():
        engine: Backend = backend(pool.backend)
        try:
            refresh_inventory(pool, engine.inventory(), engine.health())
        except BackendUnavailable as error:
            logger.warning("%s does not answer: %s", pool.name, error)
