"""Logs by offset."""

from __future__ import annotations

from collections.abc import Iterator

from clusters.backends.base import Backend, BackendUnavailable, LogChunk
from clusters.backends.registry import backend
from clusters.choices import AttemptState
from clusters.models import Attempt, Workload
from portal.lib.errors import Unavailable

PIECE_BYTES = 256 * 1024


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
        return backend(job.pool.backend).read_log(attempt.external_name, offset=offset, limit=limit)
    except BackendUnavailable as error:
        raise Unavailable("The log cannot be read just now. Try again shortly.") from error


def pieces_of_log(job: Workload) -> Iterator[bytes]:
    """The log as far as it goes now, piece by piece; the database is asked here and not later.

    Raises Unavailable.
    """
    attempt = latest_attempt(job)
    if attempt is None or attempt.started_at is None:
        return iter(())
    return _pieces(backend(job.pool.backend), attempt.external_name)


def _pieces(engine: Backend, external_name: str) -> Iterator[bytes]:
    offset = 0
    try:
        while True:
            chunk = engine.read_log(external_name, offset=offset, limit=PIECE_BYTES)
            if not chunk.data:
                return
            yield chunk.data
            offset = chunk.next_offset
    except BackendUnavailable as error:
        raise Unavailable("The log cannot be read just now. Try again shortly.") from error


def tail_offset(engine: Backend, external_name: str, *, keep: int) -> int:
    """Where the last `keep` bytes of an attempt's log begin, 0 for a shorter one.

    The contract names no size, so the end is felt for: a log of 64 MiB takes some thirty reads
    of one byte. Raises BackendUnavailable.
    """
    if not has_offset(engine, external_name, offset=keep + 1):
        return 0
    low, high = keep + 1, 2 * keep
    while has_offset(engine, external_name, offset=high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if has_offset(engine, external_name, offset=middle):
            low = middle
        else:
            high = middle
    return low - keep


def has_offset(engine: Backend, external_name: str, *, offset: int) -> bool:
    """Whether an attempt's log is at least `offset` bytes long. Raises BackendUnavailable."""
    if offset == 0:
        return True
    return bool(engine.read_log(external_name, offset=offset - 1, limit=1).data)
