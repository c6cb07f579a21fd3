"""A run as its live page needs it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from accounts.access import actors_of
from accounts.actor import Actor
from accounts.models import User
from clusters.access import job_for, notebook_for
from clusters.backends.base import Backend, BackendUnavailable
from clusters.backends.registry import backend
from clusters.choices import AT_REST, AttemptState, WorkloadKind
from clusters.models import Attempt, Workload
from clusters.queries.logs import has_offset, shown_attempt, tail_offset
from portal.lib.errors import NotFound

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LiveRun:
    """The run and the attempt whose log is shown; `attempt` is 0 where there is none.

    `chosen` is the attempt the viewer asked for; None follows the latest that has begun.
    """

    job: Workload
    attempt: int
    external_name: str
    has_started: bool
    chosen: int | None

    @property
    def is_final(self) -> bool:
        """Whether nothing more will happen to it by itself."""
        return self.job.status in AT_REST

    @property
    def state(self) -> tuple[str, str, int]:
        """Status, reason and the attempt that is shown."""
        return self.job.status, self.job.reason, self.attempt

    @property
    def engine(self) -> Backend:
        """Where it runs."""
        return backend(self.job.pool.backend)


def live_run_of(
    user: User, kind: WorkloadKind, public_id: str, *, chosen: int | None = None
) -> LiveRun:
    """The run, in whichever of the person's teams it is. Raises NotFound."""
    for actor in actors_of(user):
        try:
            found = _DOORS[kind](actor, public_id)
        except NotFound:
            continue
        return _described(found, chosen)
    raise NotFound(f"There is no such {kind.label.lower()}.")


_DOORS: dict[WorkloadKind, Callable[[Actor, str], Workload]] = {
    WorkloadKind.JOB: job_for,
    WorkloadKind.NOTEBOOK: notebook_for,
}


def live_run_again(seen: LiveRun) -> LiveRun:
    """The same run as it stands now."""
    job = Workload.objects.select_related("pool").get(pk=seen.job.pk)
    return _described(job, seen.chosen)


def has_ended(live: LiveRun) -> bool:
    """Whether the attempt that is shown is over as the portal knows it."""
    return Attempt.objects.filter(
        external_name=live.external_name, state=AttemptState.ENDED
    ).exists()


def log_start(live: LiveRun, *, offset: int | None, attempt: int | None, keep: int) -> int:
    """Where a viewer begins: at `offset` where that lies in this attempt's log, else `keep` bytes
    before its end. Unknown, because the engine does not answer: where the viewer asked.
    """
    is_same = attempt is None or attempt == live.attempt
    try:
        if (
            offset is not None
            and is_same
            and has_offset(live.engine, live.external_name, offset=offset)
        ):
            return offset
        return tail_offset(live.engine, live.external_name, keep=keep)
    except BackendUnavailable as error:
        logger.warning("the log of %s cannot be read: %s", live.external_name, error)
        return (offset or 0) if is_same else 0


def _described(job: Workload, chosen: int | None) -> LiveRun:
    attempt = shown_attempt(job, chosen)
    return LiveRun(
        job=job,
        attempt=attempt.number if attempt else 0,
        external_name=attempt.external_name if attempt else "",
        has_started=attempt is not None and attempt.started_at is not None,
        chosen=chosen,
    )
