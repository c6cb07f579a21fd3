"""Stops what nobody pays for."""

from __future__ import annotations

from accounts.actor import Actor
from billing.queries.funds import funds_of
from clusters.actions.jobs import request_stop
from clusters.choices import Reason, WorkloadStatus
from clusters.models import Workload
from portal.lib.errors import Conflict


def stop_unfunded() -> int:
    """Ask every running job of a team without credit to stop; returns how many were asked."""
    stopped = 0
    running = Workload.objects.filter(
        status__in=[WorkloadStatus.RUNNING, WorkloadStatus.STARTING]
    ).select_related("team__billing_account")
    by_team: dict[int, list[Workload]] = {}
    for job in running:
        by_team.setdefault(job.team_id, []).append(job)
    for jobs in by_team.values():
        if funds_of(jobs[0].team.billing_account).balance_micros > 0:
            continue
        for job in jobs:
            try:
                request_stop(job, Reason.FUNDS_EXHAUSTED, actor=Actor.system("the credit ran out"))
            except Conflict:
                continue  # it ended by itself meanwhile
            stopped += 1
    return stopped
