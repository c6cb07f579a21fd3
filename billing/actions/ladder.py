"""What happens as a team runs out of money, step by step, each told once on the way down.

A day left, an hour left: mail. Nothing left: new work is refused and automatic top-up is tried.
After `FUNDS_GRACE_SECONDS` work is stopped, after `STORAGE_KEEP_DAYS` kept files are deleted, both
by `clusters.actions.funds`.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Exists, OuterRef, Q

from billing.actions import auto_top_up
from billing.actions.telling import tell_once
from billing.choices import LadderStep
from billing.emails import send_funds_notice
from billing.models import BillingAccount, FundsNotice, UsageInterval
from billing.queries.funds import DAY, HOUR, Funds, funds_of
from billing.queries.storage import keeps_storage, storage_ends_at
from portal.lib import clock
from portal.lib.errors import Unavailable

logger = logging.getLogger(__name__)
# A step is told again only after the runway was this much above it: no mail at every wobble.
_UP_AGAIN = 1.25
_SECONDS = {LadderStep.DAY_LEFT: DAY, LadderStep.HOUR_LEFT: HOUR, LadderStep.EXHAUSTED: 0}


def grace() -> timedelta:
    """How long work goes on when nothing is left."""
    return timedelta(seconds=settings.FUNDS_GRACE_SECONDS)


def watch_runway() -> int:
    """Take every account that spends, or stands on a step, up or down; returns the mails sent.

    Safe to run twice at once: each step is noted by one of them.
    """
    spends = UsageInterval.objects.filter(account=OuterRef("pk"), ended_at__isnull=True)
    stands = FundsNotice.objects.filter(account=OuterRef("pk"), cleared_at__isnull=True)
    accounts = BillingAccount.objects.select_related("team").filter(
        Exists(spends) | Exists(stands) | Q(exhausted_at__isnull=False)
    )
    for account in accounts.order_by("pk").iterator():
        _watch(account)
    untold = FundsNotice.objects.filter(told_at__isnull=True).order_by("pk")
    return sum(_tell(key) for key in list(untold.values_list("pk", flat=True)))


def _watch(account: BillingAccount) -> None:
    funds = funds_of(account)
    if account.exhausted_at is None and _is_used_up(funds):
        _exhaust(account, funds)
        funds = funds_of(account)  # automatic top-up may have come in time
    if not _is_used_up(funds):
        BillingAccount.objects.filter(pk=account.pk).update(exhausted_at=None)
        account.exhausted_at = None
    _clear(account, funds)
    step = _step_of(funds)
    if step is not None:
        note_step(account, step, funds)
    ends_at = storage_ends_at(account)
    notice = timedelta(days=settings.STORAGE_NOTICE_DAYS)
    if ends_at is not None and clock.now() >= ends_at - notice and keeps_storage(account):
        note_step(account, LadderStep.STORAGE_ENDING, funds)


def note_step(account: BillingAccount, step: LadderStep, funds: Funds) -> None:
    """Note that the account has gone down to `step`, and the ones above it without a mail."""
    now = clock.now()
    order = list(LadderStep)
    above = order[: order.index(step)]
    FundsNotice.objects.bulk_create(
        [
            FundsNotice(
                account=account,
                step=each,
                balance_micros=funds.balance_micros,
                burn_micros_per_hour=funds.burn_micros_per_hour,
                at=now,
                told_at=now if each in above else None,
            )
            for each in (*above, step)
        ],
        ignore_conflicts=True,
    )


def _exhaust(account: BillingAccount, funds: Funds) -> None:
    """The first to see it starts the grace and asks the card, of any number of sweeps."""
    first = BillingAccount.objects.filter(pk=account.pk, exhausted_at__isnull=True)
    if not first.update(exhausted_at=_used_up_at(funds)):
        return
    try:
        auto_top_up.request(account.pk)
    except Unavailable as error:
        logger.warning("automatic top-up of account %s: %s", account.pk, error.message)


def _used_up_at(funds: Funds) -> datetime:
    """When the last of it went, at the present burn, and at most one look ago: who was not watched
    for longer still has the whole grace."""
    now = clock.now()
    if not funds.burn_micros_per_hour:
        return now
    over = timedelta(seconds=-funds.spendable_micros * HOUR / funds.burn_micros_per_hour)
    return now - min(over, timedelta(seconds=settings.FUNDS_TICK_SECONDS))


def _is_used_up(funds: Funds) -> bool:
    return funds.spendable_micros <= 0


def _step_of(funds: Funds) -> LadderStep | None:
    """The lowest step that holds now; without burn only an empty balance counts."""
    if _is_used_up(funds) and funds.burn_micros_per_hour:
        return LadderStep.EXHAUSTED
    runway = funds.runway_seconds
    if runway is None:
        return None
    return next(
        (step for step in (LadderStep.HOUR_LEFT, LadderStep.DAY_LEFT) if runway < _SECONDS[step]),
        None,
    )


def _clear(account: BillingAccount, funds: Funds) -> None:
    """Forget the steps the account is clearly above again."""
    runway = funds.runway_seconds
    up = [
        step
        for step, seconds in _SECONDS.items()
        if funds.spendable_micros > 0 and (runway is None or runway > seconds * _UP_AGAIN)
    ]
    if LadderStep.EXHAUSTED in up:
        up += [LadderStep.STOPPED, LadderStep.STORAGE_ENDING, LadderStep.STORAGE_DELETED]
    FundsNotice.objects.filter(account=account, step__in=up, cleared_at__isnull=True).update(
        cleared_at=clock.now()
    )


def overdue_accounts(now: datetime) -> list[BillingAccount]:
    """Accounts whose grace is over."""
    return list(BillingAccount.objects.filter(exhausted_at__lte=now - grace()).order_by("pk"))


def storage_overdue_accounts(now: datetime) -> list[BillingAccount]:
    """Accounts whose files were kept as long as they are without money."""
    kept = timedelta(days=settings.STORAGE_KEEP_DAYS)
    overdue = BillingAccount.objects.filter(exhausted_at__lte=now - kept)
    return list(overdue.order_by("pk"))


def _tell(notice_id: int) -> bool:
    def send() -> None:
        notice = FundsNotice.objects.select_related("account__team").get(pk=notice_id)
        send_funds_notice(notice, funds_of(notice.account))

    return tell_once(FundsNotice.objects.filter(pk=notice_id), send)
