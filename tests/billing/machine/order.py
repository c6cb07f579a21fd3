"""I16 played again: what each entry took out of which lot, and whether that was the order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from django.db.models import Sum

from billing.actions.lots import in_order
from billing.choices import USAGE_KINDS, AccountCode, EntryKind
from billing.models import (
    BillingAccount,
    CreditLot,
    Dispute,
    JournalEntry,
    LotConsumption,
    Refund,
)

_BY_ORDER = {EntryKind.USAGE, EntryKind.TAX}
_OF_A_PAYMENT = {EntryKind.REFUND, EntryKind.DISPUTE}
_GIVES_BACK = {EntryKind.REVERSAL, EntryKind.SERVICE_CREDIT}


class LotOrder:
    """The lots as the entries up to `last` have left them."""

    def __init__(self) -> None:
        self.last = 0
        self.lots: dict[int, CreditLot] = {}
        self.left: dict[int, int] = {}
        self.used: dict[int, int] = defaultdict(int)

    def catch_up(self, account: BillingAccount) -> None:
        """Play what was posted since; fails where another lot would have had to be taken."""
        entries = list(JournalEntry.objects.filter(pk__gt=self.last).order_by("pk"))
        if not entries:
            return
        opened: dict[int, list[CreditLot]] = defaultdict(list)
        for lot in CreditLot.objects.filter(account=account, entry__in=entries):
            opened[lot.entry_id].append(lot)
        taken: dict[int, dict[int, int]] = defaultdict(dict)
        for row in LotConsumption.objects.filter(entry__in=entries):
            taken[row.entry_id][row.lot_id] = row.amount_micros
        for entry in entries:
            self._play(entry, taken[entry.pk])
            for lot in opened[entry.pk]:
                self.lots[lot.pk], self.left[lot.pk] = lot, lot.amount_micros
        self.last = entries[-1].pk
        now = dict(CreditLot.objects.filter(account=account).values_list("pk", "remaining_micros"))
        assert now == self.left

    def _play(self, entry: JournalEntry, taken: dict[int, int]) -> None:
        kind = EntryKind(entry.kind)
        lots = self.lots.values()
        if kind in _BY_ORDER:
            assert taken == self._first(in_order(lots), sum(taken.values())), entry
            if _owed_by(entry) > 0:
                assert sum(self.left.values()) == sum(taken.values()), f"{entry} owes too much"
        elif kind in _OF_A_PAYMENT:
            payment, amount = _asked_of(entry)
            own = sorted((lot for lot in lots if lot.payment_id == payment), key=lambda lot: lot.pk)
            assert taken == self._first(own, amount), entry
        elif kind in _GIVES_BACK:
            assert taken == self._last(-sum(taken.values())), entry
        else:
            assert not taken, entry
        for key, amount in taken.items():
            self.left[key] -= amount
            if kind in USAGE_KINDS:
                self.used[key] += amount

    def _first(self, lots: Iterable[CreditLot], amount: int) -> dict[int, int]:
        found = {}
        for lot in lots:
            part = min(amount, self.left[lot.pk])
            if part:
                found[lot.pk] = part
                amount -= part
        return found

    def _last(self, amount: int) -> dict[int, int]:
        found = {}
        for lot in reversed(in_order(self.lots.values())):
            spent = lot.amount_micros - self.left[lot.pk]
            part = min(amount, self.used[lot.pk], spent)
            if part > 0:
                found[lot.pk] = -part
                amount -= part
        return found


def _asked_of(entry: JournalEntry) -> tuple[int, int]:
    """The payment that a refund or a dispute is of, and for how much of its credit it asks."""
    what, name, _ = entry.idempotency_key.split(":")
    if what == "refund":
        refund = Refund.objects.get(public_id=name)
        return refund.payment_id, refund.net_micros
    dispute = Dispute.objects.get(stripe_dispute_id=name)
    return dispute.payment_id, dispute.amount_micros


def _owed_by(entry: JournalEntry) -> int:
    legs = entry.postings.filter(account__code=AccountCode.ACCOUNTS_RECEIVABLE)
    return int(legs.aggregate(total=Sum("amount_micros", default=0))["total"])
