"""Why an attempt ended that nobody ended."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from clusters.backends.local.supervise import Supervisor

DISK_FULL = "used its whole disk space of {} bytes"


def judge(attempt: Supervisor, status: int) -> None:
    """Note exit code and signal of its first process, and the reason where it has none yet."""
    code = os.waitstatus_to_exitcode(status)
    code = 128 - code if code < 0 else code
    attempt.state["exit_code"] = code
    attempt.state["signal"] = code - 128 if 128 < code <= 128 + 64 else None
    if not attempt.reason:
        attempt.reason, attempt.detail = _reason(attempt, code)


def _reason(attempt: Supervisor, code: int) -> tuple[str, str]:
    """By exit code and counters."""
    state, plan = attempt.state, attempt.plan
    if "started_at" not in state:
        state["exit_code"] = state["signal"] = None
        tail = attempt.log.tail(500)
        return "start_failed", tail or f"the sandbox ended at once with status {code}"
    if code == 0:
        return "completed", attempt.log.problem
    if attempt.oom_kills():
        return "out_of_memory", f"used its whole memory of {plan['memory_bytes']} bytes"
    if attempt.usage_bytes() >= plan["disk_bytes"]:
        return "disk_full", DISK_FULL.format(plan["disk_bytes"])
    number = state["signal"]
    return "user_error", f"killed by signal {number}" if number else f"exit code {code}"
