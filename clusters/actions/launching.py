"""What every launch writes: the workload, what is held for it, and the intent to place it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from accounts.actions import audit
from accounts.actor import Actor
from accounts.models import Team
from billing.actions.accounts import ensure_account
from billing.actions.budgets import cap_run, check_caps
from billing.actions.holds import take_hold
from billing.models import BillingAccount, Price
from billing.queries.prices import price_for
from clusters.choices import Reason, WorkloadStatus
from clusters.models import Attempt, Pool, Workload, WorkloadEvent
from portal.lib import clock
from portal.lib.money import cost_micros
from portal.lib.tasks import hint_on_commit

RESOURCE_KIND = "workload"
# What is set aside at launch: the first hour, or the whole time limit where that is shorter.
HOLD_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class Quote:
    """What a launch costs, in micro-units."""

    micros_per_gpu_hour: int
    micros_per_hour: int
    hold_micros: int


def quote(team: Team, *, pool: Pool, gpus: int, time_limit_seconds: int) -> Quote:
    """Price per hour and hold of a launch by `team`. Raises NotFound without a price."""
    price = price_for(ensure_account(team), pool.sku_code, at=clock.now())
    return quote_at(price.micros_per_hour, gpus=gpus, time_limit_seconds=time_limit_seconds)


def quote_at(micros_per_hour: int, *, gpus: int, time_limit_seconds: int) -> Quote:
    """Price per hour and hold at a known price of one GPU."""
    held_us = min(time_limit_seconds, HOLD_SECONDS) * 1_000_000
    return Quote(
        micros_per_gpu_hour=micros_per_hour,
        micros_per_hour=micros_per_hour * gpus,
        hold_micros=cost_micros(micros_per_hour, gpus, held_us),
    )


@transaction.atomic(savepoint=False)
def queue_new(actor: Actor, workload: Workload, *, max_cost_micros: int = 0) -> Attempt:
    """Save `workload`, checked and complete but for its price, with its first attempt queued.

    Raises InsufficientFunds. A caller that goes on after that in a transaction of its own wraps the
    call in another.
    """
    account = ensure_account(workload.team)
    check_caps(account, workload.cost_labels)
    workload.price = price_for(account, workload.pool.sku_code, at=clock.now())
    workload.save(force_insert=True)
    _hold(account, workload)
    if max_cost_micros:
        cap_run(account, workload.public_id, amount_micros=max_cost_micros)
    attempt = add_attempt(workload, number=1)
    WorkloadEvent.objects.create(
        workload=workload,
        status=WorkloadStatus.QUEUED,
        reason=Reason.WAITING_FOR_GPUS,
        actor=str(actor.user),
    )
    audit.record(
        actor,
        f"{workload.kind}.launched",
        team=workload.team,
        object_id=workload.public_id,
        gpus=workload.gpus,
    )
    hint_on_commit("clusters.tasks.drive_pool", workload.pool_id)
    return attempt


def hold_again(workload: Workload) -> Price:
    """Hold the first hour of another start, at the price of now. Raises InsufficientFunds."""
    account = ensure_account(workload.team)
    check_caps(account, workload.cost_labels)
    workload.price = price_for(account, workload.pool.sku_code, at=clock.now())
    _hold(account, workload)
    return workload.price


def _hold(account: BillingAccount, workload: Workload) -> None:
    costs = quote_at(
        workload.price.micros_per_hour,
        gpus=workload.gpus,
        time_limit_seconds=workload.time_limit_seconds,
    )
    take_hold(
        account,
        resource_kind=RESOURCE_KIND,
        resource_id=workload.pk,
        amount_micros=costs.hold_micros,
        labels=workload.cost_labels,
    )


def add_attempt(workload: Workload, *, number: int, not_before: datetime | None = None) -> Attempt:
    """The intent to place `workload` once more, under a name the engine will know it by."""
    short = workload.public_id.partition("_")[2]
    return Attempt.objects.create(
        workload=workload,
        pool_id=workload.pool_id,
        number=number,
        external_name=f"fg-{short}-{number}",
        not_before=not_before,
    )
