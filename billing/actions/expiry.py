"""Credit whose time is over leaves the books."""

from __future__ import annotations

from django.db import transaction

from billing.actions.accounts import lock_account
from billing.actions.ledger import PostingDraft, post_entry
from billing.actions.lots import Share, code_of, save_consumption
from billing.choices import AccountCode, EntryKind, LotKind
from billing.models import BillingAccount, CreditLot, LotConsumption
from portal.lib import clock


def expire_credit() -> int:
    """Take what is left of expired lots out of the books; returns how many lots there were.

    Credit that is given back to a lot after it expired goes with the next sweep.
    """
    due = CreditLot.objects.filter(remaining_micros__gt=0, expires_at__lte=clock.now())
    accounts = list(due.order_by("account_id").values_list("account_id", flat=True).distinct())
    return sum(_expire(account_id) for account_id in accounts)


@transaction.atomic
def _expire(account_id: int) -> int:
    account = lock_account(account_id)
    lots = CreditLot.objects.select_for_update(no_key=True).filter(
        account=account, remaining_micros__gt=0, expires_at__lte=clock.now()
    )
    expired = list(lots.order_by("pk"))
    for lot in expired:
        _post(account, lot)
    return len(expired)


def _post(account: BillingAccount, lot: CreditLot) -> None:
    """What was given costs us that much less; what was bought and never used is revenue."""
    is_bought = lot.kind == LotKind.PURCHASED
    gains = AccountCode.REVENUE_BREAKAGE if is_bought else AccountCode.PROMO_EXPENSE
    amount = lot.remaining_micros
    before = LotConsumption.objects.filter(lot=lot, entry__kind=EntryKind.EXPIRY).count()
    entry = post_entry(
        kind=EntryKind.EXPIRY,
        idempotency_key=f"expiry:{lot.pk}:{before}",
        effective_at=clock.now(),
        postings=[
            PostingDraft(code_of(lot.kind), amount, account.currency, account.pk),
            PostingDraft(gains, -amount, account.currency),
        ],
        memo=f"{lot.get_kind_display()} credit expired",
    )
    lot.remaining_micros = 0
    save_consumption([(entry, [Share(lot, amount)])])
