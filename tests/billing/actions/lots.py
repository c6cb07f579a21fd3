"""Credit of any kind, for tests."""

from __future__ import annotations

import itertools
from datetime import datetime

from billing.actions.ledger import post_entry
from billing.actions.lots import incoming_postings, open_lot
from billing.choices import AccountCode, EntryKind, LotKind
from billing.models import BillingAccount, CreditLot
from portal.lib import clock

_numbers = itertools.count()


def add_lot(
    account: BillingAccount, kind: LotKind, micros: int, expires_at: datetime | None = None
) -> CreditLot:
    """A lot, with its entry in the books."""
    is_bought = kind == LotKind.PURCHASED
    postings, rest = incoming_postings(
        account,
        source=AccountCode.PSP_CLEARING if is_bought else AccountCode.PROMO_EXPENSE,
        kind=kind,
        amount_micros=micros,
    )
    entry = post_entry(
        kind=EntryKind.TOP_UP if is_bought else EntryKind.GRANT,
        idempotency_key=f"lot:{next(_numbers)}",
        effective_at=clock.now(),
        postings=postings,
    )
    open_lot(account, entry, kind=kind, amount_micros=rest, expires_at=expires_at)
    return CreditLot.objects.get(entry=entry)
