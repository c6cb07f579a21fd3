"""Ends attempts: what waits leaves the queue, what runs gets SIGTERM, its grace and SIGKILL.

The grace is kept on the node, by the wrapper, so it survives us. A stop asked for again when it
should long be over is left to Slurm, which kills by itself.
"""

from __future__ import annotations

import time

from clusters.backends.base import BackendUnavailable, Phase
from clusters.backends.slurm.cli import Tools, last_line
from clusters.backends.slurm.folders import Record, SharedFolder
from clusters.backends.slurm.listing import read_queue
from clusters.backends.slurm.survey import Watch

OVERDUE_SECONDS = 15.0
OVER = ("invalid job id", "already completing", "already completed", "job/step already")


def stop(
    record: Record, folders: SharedFolder, tools: Tools, watch: Watch, *, grace_seconds: int
) -> None:
    """See Backend.stop. Nothing happens to what has ended or has been taken over."""
    if record.successor:
        return
    job = _engine_id(record) or _find(record, tools)
    if folders.load_end(record) is not None and not _is_put_back(record, tools):
        return
    asked = folders.stop_request(record)
    folders.request_stop(record, grace_seconds=grace_seconds)
    if not job:
        return
    name = watch.name_of(record)
    if name is None:
        return
    # By name too: scancel waits for a slurmctld that is away, which may have given the id to
    # another job when it is back.
    ours = (f"--user={record.user}", f"--name={name}")
    if asked is not None and time.time() > asked.at + asked.grace_seconds + OVERDUE_SECONDS:
        _cancel(tools, *ours, job)
        return
    _cancel(tools, *ours, "--state=PENDING", job)
    _cancel(tools, *ours, "--state=RUNNING", "--batch", "--signal=TERM", job)


def _cancel(tools: Tools, *argv: str) -> None:
    answer = tools.run("scancel", *argv)
    words = answer.error.lower()
    if answer.status != 0 and not any(over in words for over in OVER):
        raise BackendUnavailable(f"scancel failed: {last_line(answer.error)}")


def _engine_id(record: Record) -> str:
    if not record.job_id or record.task < 0:
        return record.job_id
    return f"{record.job_id}_{record.task}"


def _find(record: Record, tools: Tools) -> str:
    """The job of a submission whose outcome is unknown."""
    for row in read_queue(tools):
        if row.name == record.job_name and row.user == record.user:
            return row.job_id
    return ""


def _is_put_back(record: Record, tools: Tools) -> bool:
    """Whether the job of an attempt that ended is in the queue for another start."""
    return any(
        row.job_id == record.job_id
        and row.user == record.user
        and row.restarts > record.restart
        and row.phase is not Phase.ENDED
        for row in read_queue(tools)
    )
