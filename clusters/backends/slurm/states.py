"""What Slurm's words mean to FastGPU, as tables. The words are those of squeue(1) and sacct(1)."""

from __future__ import annotations

from clusters.backends.base import EndReason, Phase, Wait, WaitCause

PHASES: dict[str, Phase] = {
    "PENDING": Phase.PENDING,
    "REQUEUED": Phase.PENDING,
    "REQUEUE_FED": Phase.PENDING,
    "REQUEUE_HOLD": Phase.PENDING,
    "RESV_DEL_HOLD": Phase.PENDING,
    "SPECIAL_EXIT": Phase.PENDING,
    "CONFIGURING": Phase.PENDING,
    "RUNNING": Phase.RUNNING,
    "COMPLETING": Phase.RUNNING,
    "SUSPENDED": Phase.RUNNING,
    "STOPPED": Phase.RUNNING,
    "SIGNALING": Phase.RUNNING,
    "RESIZING": Phase.RUNNING,
    "STAGE_OUT": Phase.RUNNING,
    "BOOT_FAIL": Phase.ENDED,
    "CANCELLED": Phase.ENDED,
    "COMPLETED": Phase.ENDED,
    "DEADLINE": Phase.ENDED,
    "FAILED": Phase.ENDED,
    "NODE_FAIL": Phase.ENDED,
    "OUT_OF_MEMORY": Phase.ENDED,
    "PREEMPTED": Phase.ENDED,
    "REVOKED": Phase.ENDED,
    "TIMEOUT": Phase.ENDED,
}
"""A job that is completing still holds its GPUs: it has not ended."""

ENDS: dict[str, EndReason] = {
    "BOOT_FAIL": EndReason.NODE_LOST,
    "CANCELLED": EndReason.STOPPED,
    "COMPLETED": EndReason.COMPLETED,
    "DEADLINE": EndReason.TIME_LIMIT,
    "FAILED": EndReason.USER_ERROR,
    "NODE_FAIL": EndReason.NODE_LOST,
    "OUT_OF_MEMORY": EndReason.OUT_OF_MEMORY,
    "PREEMPTED": EndReason.PREEMPTED,
    "REQUEUED": EndReason.NODE_LOST,
    "REVOKED": EndReason.STOPPED,
    "TIMEOUT": EndReason.TIME_LIMIT,
}
"""REQUEUED is a row of accounting only: somebody put the job back into the queue."""

START_FAILURES = frozenset(
    {"JobLaunchFailure", "BadConstraints", "SystemFailure", "JobHoldMaxRequeue", "PartitionConfig"}
)
"""Reasons of FAILED that are Slurm's fault, not the command's."""

_TALK = "Ask the operators of the cluster"
_RESOURCES = Wait(WaitCause.RESOURCES, "It waits for GPUs, CPUs or memory to become free.")
_TURN = Wait(WaitCause.TURN, "Others are before it in the cluster's queue.")
_HELD_ADMIN = Wait(WaitCause.HELD, "The operators of the cluster hold it back.", f"{_TALK} why.")
_QUOTA_TEAM = Wait(
    WaitCause.QUOTA,
    "Your team has used up what the cluster lets it use at once.",
    f"It starts when other runs of your team end. {_TALK} for more.",
)
_QUOTA_TIME = Wait(
    WaitCause.QUOTA,
    "Your team has used up its computing time in the cluster.",
    f"{_TALK} for more.",
)
_QUOTA_JOB = Wait(
    WaitCause.QUOTA,
    "It asks for more than the cluster lets one run have.",
    "Launch it again with fewer GPUs or nodes, or a shorter time limit.",
)
_QUOTA_JOBS = Wait(
    WaitCause.QUOTA,
    "Your team has as many runs in the cluster as it may.",
    "It starts when another one ends.",
)
_LATER = Wait(WaitCause.LATER, "It may not start before a set time.")
_AWAY = Wait(
    WaitCause.NODES_AWAY,
    "The machines it needs are down, drained or set aside for others.",
    f"It starts when they are back. {_TALK} if that takes long.",
)
_TOO_LARGE = Wait(
    WaitCause.QUOTA,
    "It asks for more than this part of the cluster gives one run.",
    "Launch it again with fewer nodes or a shorter time limit.",
)

WAITS: dict[str, Wait] = {
    "None": Wait(WaitCause.TURN, "The cluster has not looked at it yet."),
    "Resources": _RESOURCES,
    "Priority": _TURN,
    "Cleaning": Wait(WaitCause.RESOURCES, "Its last start is still being cleaned up."),
    "Prolog": Wait(WaitCause.RESOURCES, "Its machines are being made ready."),
    "Licenses": Wait(WaitCause.RESOURCES, "It waits for a licence to become free."),
    "FrontEndDown": _AWAY,
    "Dependency": Wait(WaitCause.DEPENDENCY, "It waits for another run to end."),
    "DependencyNeverSatisfied": Wait(
        WaitCause.DEPENDENCY,
        "It waits for another run that will never end as it should.",
        "Cancel it and launch it again.",
    ),
    "JobHeldUser": Wait(
        WaitCause.HELD, "It is held back in the cluster.", "Cancel it and launch it again."
    ),
    "JobHeldAdmin": _HELD_ADMIN,
    "JobHoldMaxRequeue": _HELD_ADMIN,
    "launch_failed_requeued_held": Wait(
        WaitCause.HELD,
        "The cluster failed to start it and holds it back.",
        f"{_TALK} to look at the machine.",
    ),
    "BeginTime": _LATER,
    "Reservation": Wait(WaitCause.LATER, "It waits for its reservation to begin."),
    "ReservationDeleted": _HELD_ADMIN,
    "JobArrayTaskLimit": Wait(
        WaitCause.TURN, "As many tasks of this array run as may run at once."
    ),
    "NodeDown": _AWAY,
    "ReqNodeNotAvail": _AWAY,
    "PartitionDown": Wait(
        WaitCause.NODES_AWAY,
        "This part of the cluster takes work but starts none at present.",
        f"{_TALK} when it opens.",
    ),
    "PartitionInactive": Wait(
        WaitCause.NODES_AWAY, "This part of the cluster is closed.", f"{_TALK} when it opens."
    ),
    "PartitionNodeLimit": _TOO_LARGE,
    "PartitionTimeLimit": _TOO_LARGE,
    "BadConstraints": _TOO_LARGE,
    "AccountNotAllowed": _HELD_ADMIN,
    "QOSNotAllowed": _HELD_ADMIN,
    "InvalidAccount": _HELD_ADMIN,
    "InvalidQOS": _HELD_ADMIN,
    "QOSResourceLimit": _QUOTA_TEAM,
    "AssociationJobLimit": _QUOTA_JOBS,
    "AssociationResourceLimit": _QUOTA_TEAM,
    "AssociationTimeLimit": _QUOTA_TIME,
    "QOSJobLimit": _QUOTA_JOBS,
    "QOSTimeLimit": _QUOTA_TIME,
}

# Families of reasons: Assoc/QOS + Grp/Max + what is limited. First match counts.
FAMILIES: tuple[tuple[tuple[str, ...], tuple[str, ...], Wait], ...] = (
    (("AssocGrp", "QOSGrp"), ("Minutes", "RunMinutes", "Billing"), _QUOTA_TIME),
    (("AssocGrp", "QOSGrp"), ("JobsLimit", "SubmitJobsLimit"), _QUOTA_JOBS),
    (("AssocMaxJobs", "QOSMaxJobs", "MaxJobs", "MaxSubmit"), ("",), _QUOTA_JOBS),
    (("AssocMaxWall", "QOSMaxWall"), ("",), _QUOTA_JOB),
    (("QOSMin",), ("",), Wait(
        WaitCause.QUOTA,
        "It asks for less than this part of the cluster is for.",
        "Launch it with more GPUs, or in another pool.",
    )),
    (("AssocMax", "QOSMax"), ("PerJob", "PerJobLimit", "PerNode"), _QUOTA_JOB),
    (("AssocGrp", "QOSGrp", "AssocMax", "QOSMax", "Assoc", "QOS"), ("",), _QUOTA_TEAM),
    (("ReqNodeNotAvail", "Nodes_required_for_job_are_DOWN"), ("",), _AWAY),
    (("Reserv",), ("",), _AWAY),
    (("Burst", "Federation", "Frontend"), ("",), _RESOURCES),
)  # fmt: skip


def wait_for(reason: str) -> Wait:
    """Why a pending job with this reason waits; one we do not know is quoted as it is."""
    # squeue may append details: "ReqNodeNotAvail, UnavailableNodes:gpu3".
    word = reason.partition(",")[0].strip().strip("()")
    if word in WAITS:
        return WAITS[word]
    for starts, contains, wait in FAMILIES:
        if word.startswith(starts) and any(part in word for part in contains):
            return wait
    return Wait(WaitCause.OTHER, f"Slurm says: {word or 'nothing'}.")
