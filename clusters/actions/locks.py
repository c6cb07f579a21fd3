"""The order of locks: the team's account, then the workload. One order everywhere, no deadlock."""

from __future__ import annotations

from collections.abc import Collection

from billing.models import BillingAccount
from clusters.models import Workload


def lock_workload(workload_id: int) -> Workload:
    """The workload, locked after its team's account, until the caller's transaction ends."""
    return lock_workloads([workload_id])[workload_id]


def lock_workloads(workload_ids: Collection[int]) -> dict[int, Workload]:
    """The workloads by key, locked after the accounts of their teams, each kind in one order."""
    teams = Workload.objects.filter(pk__in=workload_ids).values("team")
    accounts = BillingAccount.objects.select_for_update(no_key=True).filter(team__in=teams)
    list(accounts.order_by("pk").values_list("pk"))
    rows = (
        Workload.objects.select_for_update(no_key=True, of=("self",))
        .select_related("pool", "price__sku", "team__billing_account")
        .filter(pk__in=workload_ids)
        .order_by("pk")
    )
    return {job.pk: job for job in rows}
