"""What ended by a fault of ours, in the words the payer reads: such time is not billed."""

from __future__ import annotations

from billing.actions.faults import Fault
from clusters.choices import ENDINGS, Reason
from clusters.models import Attempt

_WORDS = {
    Reason.NODE_LOST: "{node} was lost",
    Reason.GPU_FAILED: "A GPU of {node} failed",
    Reason.START_FAILED: "It could not be started",
    Reason.IMAGE_MISSING: "Its environment was missing",
    Reason.QUOTA: "A quota of the cluster was used up",
}


def fault_of(attempt: Attempt, reason: Reason) -> Fault | None:
    """Why the time of an attempt that ended for `reason` is not billed; None where it is."""
    if ENDINGS[reason].is_billable:
        return None
    words = _WORDS.get(reason, reason.label)
    return Fault(reason.value, words.format(node=_node(attempt.node)))


def _node(names: str) -> str:
    if not names:
        return "The machine it ran on"
    return f"One of the nodes {names}" if "," in names else f"Node {names}"
