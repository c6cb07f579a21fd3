"""Logs by offset, and the files beside them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from clusters.backends.base import Backend, BackendUnavailable, LogChunk, OutputFile
from clusters.backends.registry import backend
from clusters.choices import AT_REST, AttemptState
from clusters.models import Attempt, Workload
from clusters.queries.attempts import attempts_of, chosen_of
from portal.lib.errors import Unavailable

PIECE_BYTES = 256 * 1024


def shown_attempt(job: Workload, number: int | None = None) -> Attempt | None:
    """The attempt whose log and files are shown: `number`, else the latest that has begun.

    Raises NotFound where there is no attempt of that number.
    """
    return chosen_of(attempts_of(job), number)


@dataclass(frozen=True, slots=True)
class LogPiece:
    """A piece of the log of attempt `attempt`, which is 0 where there is none yet."""

    attempt: int
    chunk: LogChunk


def read_log(job: Workload, *, offset: int, limit: int, attempt: int | None = None) -> LogPiece:
    """Bytes from `offset` of the log of an attempt, by default the latest that has begun.

    `complete` once everything was read and no more will come: where no attempt is asked for, only
    after the job has ended, because a retry would print more. Raises NotFound, Unavailable.
    """
    shown = shown_attempt(job, attempt)
    is_over = job.status in AT_REST if attempt is None else True
    if shown is None or shown.started_at is None:
        ended = shown is None or shown.state == AttemptState.ENDED
        number = shown.number if shown else 0
        return LogPiece(number, LogChunk(b"", 0, 0, complete=ended and is_over))
    try:
        chunk = backend(job.pool.backend).read_log(shown.external_name, offset=offset, limit=limit)
    except BackendUnavailable as error:
        raise Unavailable("The log cannot be read just now. Try again shortly.") from error
    return LogPiece(shown.number, replace(chunk, complete=chunk.complete and is_over))


def pieces_of_log(job: Workload, *, attempt: int | None = None) -> Iterator[bytes]:
    """The log as far as it goes now, piece by piece; the database is asked here and not later.

    Raises NotFound, Unavailable.
    """
    shown = shown_attempt(job, attempt)
    if shown is None or shown.started_at is None:
        return iter(())
    return _pieces(backend(job.pool.backend), shown.external_name)


def files_of(job: Workload, attempt: Attempt | None) -> Sequence[OutputFile]:
    """The files an attempt left so far, by path. Raises Unavailable."""
    if attempt is None or attempt.started_at is None:
        return ()
    try:
        return backend(job.pool.backend).list_files(attempt.external_name)
    except BackendUnavailable as error:
        raise Unavailable("The files cannot be listed just now. Try again shortly.") from error


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
