"""Which of Slurm's jobs is an attempt's: ids are given out again, and names can be changed."""

from __future__ import annotations

from collections.abc import Iterable

from clusters.backends.base import Phase
from clusters.backends.slurm.folders import Record, SharedFolder
from clusters.backends.slurm.listing import Row
from clusters.backends.slurm.script import NAME

PREFIX = "fg-"
SAME_JOB_SECONDS = 120.0
"""A job of ours under another name (its user may rename it) was submitted this close to then."""
SAME_MOMENT_SECONDS = 1.5
"""Under the name of another run it was submitted this close to then, or it is not ours: a slurmctld
that is killed forgets its last seconds and gives out their ids again."""


class Identity:
    """Tells by the user, the name and when it was submitted."""

    def __init__(self, folders: SharedFolder) -> None:
        self._folders = folders

    def is_same(self, record: Record, row: Row) -> bool:
        """Whether the job squeue shows under the attempt's id is its job."""
        if row.user != record.user:
            return False
        is_named = self._is_named_so(record, row)
        if is_named is not None:
            return is_named
        is_anothers = row.name.startswith(PREFIX)
        if row.restarts > 0:
            return not is_anothers
        # Renamed by its user, or the id of another.
        return _was_submitted_then(
            record, row, SAME_MOMENT_SECONDS if is_anothers else SAME_JOB_SECONDS
        )

    def _is_named_so(self, record: Record, row: Row) -> bool | None:
        """Whether the job's name is the attempt's; None where the name does not tell."""
        if row.name == record.job_name:
            return True
        other = self._folders.load(row.name) if NAME.fullmatch(row.name) else None
        if other is None:
            return None
        if other.origin == record.origin:
            return True  # one job, which the attempts of a run hand on
        return False if other.job_id == row.job_id else None

    def is_same_account(self, record: Record, row: Row) -> bool:
        """Whether a row of accounting is one of the attempt's job.

        It calls a job whose start it was not told of "allocation".
        """
        if row.user != record.user:
            return False
        is_named = self._is_named_so(record, row)
        if is_named is not None:
            return is_named
        return _was_submitted_then(record, row, SAME_MOMENT_SECONDS)


def _was_submitted_then(record: Record, row: Row, tolerance: float) -> bool:
    return row.submitted is not None and abs(row.submitted - record.tried_at) < tolerance


def best(rows: Iterable[Row]) -> Row | None:
    """Of several jobs of one name the living one counts, then the newest."""
    return max(
        rows,
        key=lambda row: (row.phase is not Phase.ENDED, row.phase is Phase.RUNNING, int(row.job_id)),
        default=None,
    )
