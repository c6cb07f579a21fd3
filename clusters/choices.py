"""Enumerations of clusters, their transition tables and the one reason table."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import TextChoices

from clusters.backends.base import EndReason
from portal.lib.states import Transitions


class WorkloadKind(TextChoices):
    """What is run."""

    JOB = "job", "Job"


class WorkloadStatus(TextChoices):
    """What people see."""

    QUEUED = "queued", "Queued"
    STARTING = "starting", "Starting"
    RUNNING = "running", "Running"
    STOPPING = "stopping", "Stopping"
    SUCCEEDED = "succeeded", "Succeeded"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"


class AttemptState(TextChoices):
    """Where one placement stands. `placed` holds GPUs but may not be in the engine yet."""

    INTENDED = "intended", "Intended"
    PLACED = "placed", "Placed"
    RUNNING = "running", "Running"
    ENDED = "ended", "Ended"


WORKLOAD_TRANSITIONS: Transitions[WorkloadStatus] = Transitions(
    {
        WorkloadStatus.QUEUED: frozenset(
            {WorkloadStatus.STARTING, WorkloadStatus.CANCELLED, WorkloadStatus.FAILED}
        ),
        WorkloadStatus.STARTING: frozenset(
            {
                WorkloadStatus.RUNNING,
                WorkloadStatus.STOPPING,
                WorkloadStatus.SUCCEEDED,
                WorkloadStatus.FAILED,
                WorkloadStatus.CANCELLED,
            }
        ),
        WorkloadStatus.RUNNING: frozenset(
            {
                WorkloadStatus.STOPPING,
                WorkloadStatus.SUCCEEDED,
                WorkloadStatus.FAILED,
                WorkloadStatus.CANCELLED,
            }
        ),
        WorkloadStatus.STOPPING: frozenset(
            {WorkloadStatus.SUCCEEDED, WorkloadStatus.FAILED, WorkloadStatus.CANCELLED}
        ),
        WorkloadStatus.SUCCEEDED: frozenset(),
        WorkloadStatus.FAILED: frozenset(),
        WorkloadStatus.CANCELLED: frozenset(),
    }
)

ATTEMPT_TRANSITIONS: Transitions[AttemptState] = Transitions(
    {
        AttemptState.INTENDED: frozenset({AttemptState.PLACED, AttemptState.ENDED}),
        AttemptState.PLACED: frozenset({AttemptState.RUNNING, AttemptState.ENDED}),
        AttemptState.RUNNING: frozenset({AttemptState.ENDED}),
        AttemptState.ENDED: frozenset(),
    }
)


class Reason(TextChoices):
    """Why a workload has its status."""

    WAITING_FOR_GPUS = "waiting_for_gpus", "Waiting for free GPUs"
    POOL_CLOSED = "pool_closed", "The pool starts nothing at present"
    STARTING = "starting", "GPUs are allotted, the sandbox is being made"
    RUNNING = "running", "Running"
    STOP_REQUESTED = "stop_requested", "Asked to stop, may still save its work"
    COMPLETED = "completed", "Ended by itself without an error"
    USER_ERROR = "user_error", "The command ended with an error"
    STOPPED = "stopped", "Stopped on request"
    CANCELLED_IN_QUEUE = "cancelled_in_queue", "Cancelled before it started"
    FUNDS_EXHAUSTED = "funds_exhausted", "Stopped because the credit ran out"
    TIME_LIMIT = "time_limit", "Stopped at its time limit"
    OUT_OF_MEMORY = "out_of_memory", "Used more memory than it was given"
    DISK_FULL = "disk_full", "Used more disk than it was given"
    START_FAILED = "start_failed", "Could not be started"
    NODE_LOST = "node_lost", "The machine it ran on went away"


@dataclass(frozen=True, slots=True)
class Ending:
    """What follows from a reason to end."""

    status: WorkloadStatus
    is_billable: bool
    advice: str


# The one table: reason -> status, billable, what the user can do about it.
ENDINGS: dict[Reason, Ending] = {
    Reason.COMPLETED: Ending(
        WorkloadStatus.SUCCEEDED, is_billable=True, advice="Its files are kept below."
    ),
    Reason.USER_ERROR: Ending(
        WorkloadStatus.FAILED, is_billable=True, advice="The last lines of the log usually say why."
    ),
    Reason.STOPPED: Ending(
        WorkloadStatus.CANCELLED, is_billable=True, advice="What it wrote so far is kept."
    ),
    Reason.CANCELLED_IN_QUEUE: Ending(
        WorkloadStatus.CANCELLED, is_billable=True, advice="Nothing was charged."
    ),
    Reason.FUNDS_EXHAUSTED: Ending(
        WorkloadStatus.CANCELLED,
        is_billable=True,
        advice="Add credit and launch it again; its files are kept.",
    ),
    Reason.TIME_LIMIT: Ending(
        WorkloadStatus.FAILED, is_billable=True, advice="Launch it again with a longer time limit."
    ),
    Reason.OUT_OF_MEMORY: Ending(
        WorkloadStatus.FAILED,
        is_billable=True,
        advice="Use smaller batches, or more GPUs: memory comes with them.",
    ),
    Reason.DISK_FULL: Ending(
        WorkloadStatus.FAILED,
        is_billable=True,
        advice="Write less, or remove what is no longer needed as you go.",
    ),
    Reason.START_FAILED: Ending(
        WorkloadStatus.FAILED,
        is_billable=False,
        advice="Nothing was charged. If it happens again, tell support.",
    ),
    Reason.NODE_LOST: Ending(
        WorkloadStatus.FAILED,
        is_billable=True,
        advice="Only the time until its last sign of life was charged.",
    ),
}

REASON_OF_END: dict[EndReason, Reason] = {
    EndReason.COMPLETED: Reason.COMPLETED,
    EndReason.USER_ERROR: Reason.USER_ERROR,
    EndReason.STOPPED: Reason.STOPPED,
    EndReason.TIME_LIMIT: Reason.TIME_LIMIT,
    EndReason.OUT_OF_MEMORY: Reason.OUT_OF_MEMORY,
    EndReason.DISK_FULL: Reason.DISK_FULL,
    EndReason.START_FAILED: Reason.START_FAILED,
    EndReason.NODE_LOST: Reason.NODE_LOST,
}


class BackendKind(TextChoices):
    """Engines."""

    LOCAL = "local", "This machine"
