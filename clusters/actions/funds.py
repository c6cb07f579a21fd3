"""Stops what nobody pays for, and what a budget no longer allows.

A stop is soft: SIGTERM, the time a run needs for its checkpoint, then the end. Kept files are not
touched by it: they are deleted long after, when nothing has been paid since.
"""

from __future__ import annotations

from django.db import transaction

from accounts.actor import Actor
from billing.actions.enforcement import record_enforcement
from billing.actions.ladder import note_step, overdue_accounts, storage_overdue_accounts
from billing.actions.metering import Resource
from billing.actions.storage import end_storage
from billing.choices import Enforcement, LadderStep
from billing.models import BillingAccount, UsageInterval
from billing.queries.budgets import BudgetUse, covers, reached_caps
from billing.queries.funds import Funds, funds_of
from billing.queries.storage import kept_storage
from clusters.actions import volumes
from clusters.actions.stopping import request_stop
from clusters.choices import Reason, WorkloadStatus
from clusters.models import Workload
from portal.lib import clock
from portal.lib.errors import Conflict

_COSTS = (WorkloadStatus.RUNNING, WorkloadStatus.STARTING)


def stop_unfunded() -> int:
    """Ask what runs on an account whose grace is over to stop; returns how many were asked."""
    stopped = 0
    for account in overdue_accounts(clock.now()):
        funds = funds_of(account)
        if funds.spendable_micros > 0:
            continue  # credit came in time
        jobs = _running(account)
        stopped += sum(_stop_for_funds(job, account, funds) for job in jobs)
        if jobs:
            note_step(account, LadderStep.STOPPED, funds)
    return stopped


def delete_unfunded_storage() -> int:
    """Delete what is kept on accounts whose time to pay for it is over; returns how many.

    What is still mounted stays until it is not.
    """
    deleted = 0
    for account in storage_overdue_accounts(clock.now()):
        funds = funds_of(account)
        kept = [] if funds.spendable_micros > 0 else kept_storage(account)
        gone = sum(_delete_storage(account, interval, funds) for interval in kept)
        if gone:
            note_step(account, LadderStep.STORAGE_DELETED, funds)
        deleted += gone
    return deleted


@transaction.atomic
def _delete_storage(account: BillingAccount, interval: UsageInterval, funds: Funds) -> bool:
    resource = Resource(
        kind=interval.resource_kind,
        id=interval.resource_id,
        attempt=interval.resource_attempt,
        public_id=interval.resource_public_id,
        label=interval.resource_label,
    )
    if resource.kind == volumes.RESOURCE_KIND:
        try:
            volumes.remove_unpaid(account, resource.id, Actor.system("nothing is left to pay it"))
        except Conflict:
            return False
    end_storage(account, resource, at=clock.now())
    record_enforcement(
        account,
        Enforcement.STORAGE_DELETE,
        subject=interval.resource_public_id,
        limit_micros=funds.credit_limit_micros,
        spent_micros=-funds.balance_micros,
    )
    return True


def stop_capped() -> int:
    """Ask what runs under a hard budget that is used up to stop; returns how many were asked."""
    stopped = 0
    for use in reached_caps():
        under = (job for job in _running(use.budget.account) if _is_under(job, use))
        stopped += sum(_stop_for_budget(job, use) for job in under)
    return stopped


def _running(account: BillingAccount) -> list[Workload]:
    return list(Workload.objects.filter(team=account.team_id, status__in=_COSTS).order_by("pk"))


def _is_under(job: Workload, use: BudgetUse) -> bool:
    return covers(use.budget, job.cost_labels, job.public_id)


def _stop_for_funds(job: Workload, account: BillingAccount, funds: Funds) -> bool:
    return _stop(
        job,
        account,
        Reason.FUNDS_EXHAUSTED,
        "the credit ran out",
        Enforcement.FUNDS_STOP,
        spent_micros=-funds.balance_micros,
        limit_micros=funds.credit_limit_micros,
    )


def _stop_for_budget(job: Workload, use: BudgetUse) -> bool:
    return _stop(
        job,
        use.budget.account,
        Reason.BUDGET_REACHED,
        "a budget was reached",
        Enforcement.BUDGET_STOP,
        spent_micros=use.spent_micros,
        limit_micros=use.budget.amount_micros,
        use=use,
    )


@transaction.atomic
def _stop(
    job: Workload,
    account: BillingAccount,
    reason: Reason,
    words: str,
    kind: Enforcement,
    *,
    spent_micros: int,
    limit_micros: int,
    use: BudgetUse | None = None,
) -> bool:
    try:
        request_stop(job, reason, actor=Actor.system(words))
    except Conflict:
        return False  # it ended by itself meanwhile
    record_enforcement(
        account,
        kind,
        subject=job.public_id,
        limit_micros=limit_micros,
        spent_micros=spent_micros,
        budget=use.budget if use else None,
    )
    return True
