"""Logs by offset."""

from __future__ import annotations

from clusters.backends.base import BackendUnavailable, LogChunk
from clusters.backends.registry import backend
from clusters.choices import AttemptState
from clusters.models import Attempt, Workload
from portal.lib.errors import Unavailable


def latest_attempt(job: Workload) -> Attempt | None:
    """The attempt whose log and files are shown."""
    return Attempt.objects.filter(workload=job).order_by("-number").first()


def read_log(job: Workload, *, offset: int, limit: int) -> LogChunk:
    """Bytes of the latest attempt's log from `offset`. Raises Unavailable.

    `complete` once the job has ended and everything was read.
    """
    attempt = latest_attempt(job)
    if attempt is None or attempt.started_at is None:
        ended = attempt is None or attempt.state == AttemptState.ENDED
        return LogChunk(b"", 0, 0, complete=ended)
    try:
        return backend(job.pool.backend).read_log(
            attempt.external_name, offset=offset, limit=limit
        )
    except BackendUnavailable as error:
        raise Unavailable("The log cannot be read just now. Try again shortly.") from error
