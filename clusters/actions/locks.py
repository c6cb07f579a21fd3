"""The order of locks: the team's account, then the workload. One order everywhere, no deadlock."""

from __future__ import annotations

from billing.models import BillingAccount
from clusters.models import Workload


def lock_workload(workload_id: int) -> Workload:
    """The workload, locked after its team's account, until the caller's transaction ends."""
    BillingAccount.objects.select_for_update(no_key=True, of=("self",)).get(
        team__workloads=workload_id
    )
    return (
        Workload.objects.select_for_update(no_key=True, of=("self",))
        .select_related("pool", "price__sku", "team__billing_account")
        .get(pk=workload_id)
    )
