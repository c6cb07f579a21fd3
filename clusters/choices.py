"""Enumerations of clusters, their transition tables and the one reason table."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import TextChoices

from clusters.backends.base import EndReason, WaitCause
from portal.lib.states import Transitions


class WorkloadKind(TextChoices):
    """What is run."""

    JOB = "job", "Job"
    NOTEBOOK = "notebook", "Notebook"


class WorkloadStatus(TextChoices):
    """What people see."""

    QUEUED = "queued", "Queued"
    STARTING = "starting", "Starting"
    RUNNING = "running", "Running"
    STOPPING = "stopping", "Stopping"
    SUCCEEDED = "succeeded", "Succeeded"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"
    STOPPED = "stopped", "Stopped"


class AttemptState(TextChoices):
    """Where one placement stands.

    `placed` may be in the engine or not: it is being handed over. `submitted` waits in the
    engine's own queue.
    """

    INTENDED = "intended", "Intended"
    PLACED = "placed", "Placed"
    SUBMITTED = "submitted", "Submitted"
    RUNNING = "running", "Running"
    ENDED = "ended", "Ended"


_FINAL = frozenset({WorkloadStatus.SUCCEEDED, WorkloadStatus.FAILED, WorkloadStatus.CANCELLED})
# Where nothing happens by itself any more.
AT_REST = _FINAL | {WorkloadStatus.STOPPED}

# Back to the queue from everywhere: that is a retry.
JOB_TRANSITIONS: Transitions[WorkloadStatus] = Transitions(
    {
        WorkloadStatus.QUEUED: _FINAL
        | {
            WorkloadStatus.QUEUED,
            WorkloadStatus.STARTING,
            WorkloadStatus.RUNNING,
            WorkloadStatus.STOPPING,
        },
        WorkloadStatus.STARTING: _FINAL
        | {WorkloadStatus.QUEUED, WorkloadStatus.RUNNING, WorkloadStatus.STOPPING},
        WorkloadStatus.RUNNING: _FINAL | {WorkloadStatus.QUEUED, WorkloadStatus.STOPPING},
        WorkloadStatus.STOPPING: _FINAL,
        WorkloadStatus.SUCCEEDED: frozenset(),
        WorkloadStatus.FAILED: frozenset(),
        WorkloadStatus.CANCELLED: frozenset(),
    }
)

_RESTS = frozenset({WorkloadStatus.STOPPED, WorkloadStatus.FAILED})
# A notebook is started and stopped as often as people like: to the queue from where it rests.
NOTEBOOK_TRANSITIONS: Transitions[WorkloadStatus] = Transitions(
    {
        WorkloadStatus.QUEUED: _RESTS
        | {
            WorkloadStatus.QUEUED,
            WorkloadStatus.STARTING,
            WorkloadStatus.RUNNING,
            WorkloadStatus.STOPPING,
        },
        WorkloadStatus.STARTING: _RESTS
        | {WorkloadStatus.QUEUED, WorkloadStatus.RUNNING, WorkloadStatus.STOPPING},
        WorkloadStatus.RUNNING: _RESTS | {WorkloadStatus.QUEUED, WorkloadStatus.STOPPING},
        WorkloadStatus.STOPPING: _RESTS,
        WorkloadStatus.STOPPED: frozenset({WorkloadStatus.QUEUED}),
        WorkloadStatus.FAILED: frozenset({WorkloadStatus.QUEUED}),
    }
)

TRANSITIONS: dict[WorkloadKind, Transitions[WorkloadStatus]] = {
    WorkloadKind.JOB: JOB_TRANSITIONS,
    WorkloadKind.NOTEBOOK: NOTEBOOK_TRANSITIONS,
}

ATTEMPT_TRANSITIONS: Transitions[AttemptState] = Transitions(
    {
        AttemptState.INTENDED: frozenset({AttemptState.PLACED, AttemptState.ENDED}),
        AttemptState.PLACED: frozenset(
            {AttemptState.SUBMITTED, AttemptState.RUNNING, AttemptState.ENDED}
        ),
        AttemptState.SUBMITTED: frozenset({AttemptState.RUNNING, AttemptState.ENDED}),
        AttemptState.RUNNING: frozenset({AttemptState.ENDED}),
        AttemptState.ENDED: frozenset(),
    }
)
# States in which an engine may know the attempt.
IN_ENGINE = (AttemptState.PLACED, AttemptState.SUBMITTED, AttemptState.RUNNING)


class Reason(TextChoices):
    """Why a workload has its status."""

    WAITING_FOR_GPUS = "waiting_for_gpus", "Waiting for free GPUs"
    WAITING_TURN = "waiting_turn", "Waiting for its turn in the cluster's queue"
    WAITING_QUOTA = "waiting_quota", "Waiting because a quota of the cluster is used up"
    WAITING_HELD = "waiting_held", "Held back by the operators of the cluster"
    WAITING_DEPENDENCY = "waiting_dependency", "Waiting for another run to end"
    WAITING_LATER = "waiting_later", "Waiting for the time it may start"
    WAITING_NODES = "waiting_nodes", "Waiting for machines that are away"
    WAITING_OTHER = "waiting_other", "Waiting in the cluster's queue"
    RETRYING = "retrying", "Queued again"
    POOL_CLOSED = "pool_closed", "The pool starts nothing at present"
    STARTING = "starting", "GPUs are allotted, the sandbox is being made"
    RUNNING = "running", "Running"
    SERVER_STARTING = "server_starting", "Its server is starting"
    STOP_REQUESTED = "stop_requested", "Asked to stop, may still save its work"
    COMPLETED = "completed", "Ended by itself without an error"
    USER_ERROR = "user_error", "The command ended with an error"
    ASKED_REQUEUE = "asked_requeue", "Asked to be run again"
    STOPPED = "stopped", "Stopped on request"
    IDLE = "idle", "Stopped because nothing was done in it"
    STOP_TIME = "stop_time", "Stopped at the time it was told to"
    CANCELLED_IN_QUEUE = "cancelled_in_queue", "Cancelled before it started"
    FUNDS_EXHAUSTED = "funds_exhausted", "Stopped because the credit ran out"
    BUDGET_REACHED = "budget_reached", "Stopped because its budget was reached"
    TIME_LIMIT = "time_limit", "Stopped at its time limit"
    OUT_OF_MEMORY = "out_of_memory", "Used more memory than it was given"
    DISK_FULL = "disk_full", "Used more disk than it was given"
    START_FAILED = "start_failed", "Could not be started"
    SERVER_SILENT = "server_silent", "Its server never answered"
    IMAGE_MISSING = "image_missing", "Its environment is not there"
    QUOTA = "quota", "Refused because a quota of the cluster is used up"
    NODE_LOST = "node_lost", "The machine it ran on went away"
    GPU_FAILED = "gpu_failed", "A GPU it ran on failed"
    PREEMPTED = "preempted", "Gave way to work of higher priority"


class Retry(TextChoices):
    """Whether what ended for a reason is run again by itself."""

    NEVER = "never", "No"
    USER = "user", "As often as the launch asked for"
    START = "start", "A few times"
    ALWAYS = "always", "Always"


@dataclass(frozen=True, slots=True)
class Ending:
    """What follows from a reason to end.

    `is_billable`: the time until the last proof of life is charged; where not, it is given back.
    `counts_against_node`: it feeds the pool's circuit breaker.
    """

    status: WorkloadStatus
    retry: Retry
    is_billable: bool
    advice: str
    counts_against_node: bool = False


# The one table: reason -> status, retried or not, billable, what the user can do about it.
ENDINGS: dict[Reason, Ending] = {
    Reason.COMPLETED: Ending(
        WorkloadStatus.SUCCEEDED, Retry.NEVER, is_billable=True, advice="Its files are kept."
    ),
    Reason.USER_ERROR: Ending(
        WorkloadStatus.FAILED,
        Retry.USER,
        is_billable=True,
        advice="The last lines of the log usually say why.",
    ),
    Reason.ASKED_REQUEUE: Ending(
        WorkloadStatus.FAILED,
        Retry.ALWAYS,
        is_billable=True,
        advice="It ended with exit code 75 so often that it was not run again.",
    ),
    Reason.STOPPED: Ending(
        WorkloadStatus.CANCELLED,
        Retry.NEVER,
        is_billable=True,
        advice="What it wrote so far is kept.",
    ),
    Reason.IDLE: Ending(
        WorkloadStatus.CANCELLED,
        Retry.NEVER,
        is_billable=True,
        advice="Start it again when you need it; what it was stopped for is kept as a chart.",
    ),
    Reason.STOP_TIME: Ending(
        WorkloadStatus.CANCELLED,
        Retry.NEVER,
        is_billable=True,
        advice="Start it again when you need it, with another time or none.",
    ),
    Reason.CANCELLED_IN_QUEUE: Ending(
        WorkloadStatus.CANCELLED, Retry.NEVER, is_billable=True, advice="Nothing more was charged."
    ),
    Reason.FUNDS_EXHAUSTED: Ending(
        WorkloadStatus.CANCELLED,
        Retry.NEVER,
        is_billable=True,
        advice="Add credit and launch it again; its files are kept.",
    ),
    Reason.BUDGET_REACHED: Ending(
        WorkloadStatus.CANCELLED,
        Retry.NEVER,
        is_billable=True,
        advice="Raise the budget and launch it again; its files are kept.",
    ),
    Reason.TIME_LIMIT: Ending(
        WorkloadStatus.FAILED,
        Retry.NEVER,
        is_billable=True,
        advice="Launch it again with a longer time limit.",
    ),
    Reason.OUT_OF_MEMORY: Ending(
        WorkloadStatus.FAILED,
        Retry.NEVER,
        is_billable=True,
        advice="Use smaller batches, or more GPUs: memory comes with them.",
    ),
    Reason.DISK_FULL: Ending(
        WorkloadStatus.FAILED,
        Retry.NEVER,
        is_billable=True,
        advice="Write less, or remove what is no longer needed as you go.",
    ),
    Reason.START_FAILED: Ending(
        WorkloadStatus.FAILED,
        Retry.START,
        is_billable=False,
        advice="Nothing was charged for it. If it happens again, tell support.",
        counts_against_node=True,
    ),
    Reason.SERVER_SILENT: Ending(
        WorkloadStatus.FAILED,
        Retry.NEVER,
        is_billable=False,
        advice="Nothing was charged for it. The last lines of the log usually say why.",
    ),
    Reason.IMAGE_MISSING: Ending(
        WorkloadStatus.FAILED,
        Retry.NEVER,
        is_billable=False,
        advice="Choose another environment, or ask support to build this one.",
    ),
    Reason.QUOTA: Ending(
        WorkloadStatus.FAILED,
        Retry.NEVER,
        is_billable=False,
        advice="Ask for fewer GPUs, wait for other runs to end, or ask support for more.",
    ),
    Reason.NODE_LOST: Ending(
        WorkloadStatus.FAILED,
        Retry.ALWAYS,
        is_billable=False,
        advice="That was our fault: the time of this attempt is not billed.",
        counts_against_node=True,
    ),
    Reason.GPU_FAILED: Ending(
        WorkloadStatus.FAILED,
        Retry.ALWAYS,
        is_billable=False,
        advice="That was our fault: the time of this attempt is not billed.",
        counts_against_node=True,
    ),
    Reason.PREEMPTED: Ending(
        WorkloadStatus.FAILED,
        Retry.ALWAYS,
        is_billable=True,
        advice="It had no time left to be run again; its checkpoints are kept.",
    ),
}

# Ends that leave a notebook stopped, ready to be started again; after all others it has failed.
_LEAVES_STOPPED = frozenset(
    {
        Reason.COMPLETED,
        Reason.STOPPED,
        Reason.IDLE,
        Reason.STOP_TIME,
        Reason.CANCELLED_IN_QUEUE,
        Reason.FUNDS_EXHAUSTED,
        Reason.BUDGET_REACHED,
        Reason.TIME_LIMIT,
        Reason.PREEMPTED,
    }
)


def status_after(kind: WorkloadKind, reason: Reason) -> WorkloadStatus:
    """The status of a workload of this kind whose last attempt has ended for `reason`."""
    if kind == WorkloadKind.JOB:
        return ENDINGS[reason].status
    return WorkloadStatus.STOPPED if reason in _LEAVES_STOPPED else WorkloadStatus.FAILED


REASON_OF_END: dict[EndReason, Reason] = {
    EndReason.COMPLETED: Reason.COMPLETED,
    EndReason.USER_ERROR: Reason.USER_ERROR,
    EndReason.STOPPED: Reason.STOPPED,
    EndReason.TIME_LIMIT: Reason.TIME_LIMIT,
    EndReason.OUT_OF_MEMORY: Reason.OUT_OF_MEMORY,
    EndReason.DISK_FULL: Reason.DISK_FULL,
    EndReason.START_FAILED: Reason.START_FAILED,
    EndReason.IMAGE_MISSING: Reason.IMAGE_MISSING,
    EndReason.QUOTA: Reason.QUOTA,
    EndReason.NODE_LOST: Reason.NODE_LOST,
    EndReason.GPU_FAILED: Reason.GPU_FAILED,
    EndReason.PREEMPTED: Reason.PREEMPTED,
}

REASON_OF_WAIT: dict[WaitCause, Reason] = {
    WaitCause.RESOURCES: Reason.WAITING_FOR_GPUS,
    WaitCause.TURN: Reason.WAITING_TURN,
    WaitCause.QUOTA: Reason.WAITING_QUOTA,
    WaitCause.HELD: Reason.WAITING_HELD,
    WaitCause.DEPENDENCY: Reason.WAITING_DEPENDENCY,
    WaitCause.LATER: Reason.WAITING_LATER,
    WaitCause.NODES_AWAY: Reason.WAITING_NODES,
    WaitCause.OTHER: Reason.WAITING_OTHER,
}


class Service(TextChoices):
    """What a workload, or a tool beside it, serves to browsers."""

    LAB = "lab", "JupyterLab"
    TERMINAL = "terminal", "Terminal"
    TENSORBOARD = "tensorboard", "TensorBoard"


class AppState(TextChoices):
    """Where a served application stands."""

    STARTING = "starting", "Starting"
    READY = "ready", "Ready"
    CLOSED = "closed", "Closed"


class Verdict(TextChoices):
    """What a notebook is found to do. Unknown is never idle."""

    BUSY = "busy", "Busy"
    IDLE = "idle", "Idle"
    UNKNOWN = "unknown", "Unknown"


class RunOutcome(TextChoices):
    """What came of one of a schedule's times."""

    LAUNCHED = "launched", "Launched"
    REFUSED = "refused", "Could not be launched"
    SKIPPED = "skipped", "Skipped"
    MISSED = "missed", "Missed"
