"""The steps of a run from a number on: what who was away has missed.

Each step is written under its workload's row, so for one run a higher number always came later.
"""

from __future__ import annotations

from collections.abc import Sequence

from clusters.choices import Reason, WorkloadStatus
from clusters.models import Workload, WorkloadEvent

MOST = 200


def events_after(workload: Workload, after: int) -> list[WorkloadEvent]:
    """The next steps after number `after`, oldest first; at most `MOST`."""
    found = WorkloadEvent.objects.filter(workload=workload, pk__gt=after)
    return list(found.order_by("pk")[:MOST])


def last_event(workload: Workload) -> int:
    """The number of the latest step; 0 where there is none."""
    last = WorkloadEvent.objects.filter(workload=workload).order_by("-pk")
    return last.values_list("pk", flat=True).first() or 0


def of_latest_start(events: Sequence[WorkloadEvent]) -> Sequence[WorkloadEvent]:
    """Of a run's steps, oldest first, those since it was last launched or started again."""
    starts = [
        index
        for index, event in enumerate(events)
        if event.status == WorkloadStatus.QUEUED and event.reason == Reason.WAITING_FOR_GPUS
    ]
    return events[starts[-1] :] if starts else events
