"""Credit comes in lots and is used up in one order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from billing.actions.ledger import PostingDraft
from billing.choices import AccountCode, LotKind
from billing.models import (
    BillingAccount,
    CreditLot,
    JournalEntry,
    LedgerAccount,
    LotConsumption,
    Payment,
)
from portal.lib.rows import update_rows

_RANK = {LotKind.PROMOTIONAL: 0, LotKind.GOODWILL: 1, LotKind.PURCHASED: 2}
_NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Share:
    """What is taken out of one lot, micro-units."""

    lot: CreditLot
    amount_micros: int


def code_of(kind: str) -> AccountCode:
    """Where credit of a kind stands in the ledger."""
    return AccountCode.CUSTOMER_CREDIT if kind == LotKind.PURCHASED else AccountCode.PROMO_CREDIT


def in_order(lots: Iterable[CreditLot]) -> list[CreditLot]:
    """Given before bought, the soonest to expire first, then the oldest."""
    return sorted(
        lots, key=lambda lot: (_RANK[LotKind(lot.kind)], lot.expires_at or _NEVER, lot.pk)
    )


def usable_lots(account: BillingAccount, *, at: datetime) -> list[CreditLot]:
    """What the account may spend at `at`, in order, locked. The caller has locked the account."""
    return usable_lots_of([account.pk], at=at).get(account.pk, [])


def usable_lots_of(account_ids: Sequence[int], *, at: datetime) -> dict[int, list[CreditLot]]:
    """`usable_lots` for many accounts, all of them locked by the caller."""
    lots = CreditLot.objects.select_for_update(no_key=True).filter(
        account__in=account_ids, remaining_micros__gt=0
    )
    found: dict[int, list[CreditLot]] = defaultdict(list)
    for lot in in_order(lot for lot in lots if lot.expires_at is None or lot.expires_at > at):
        found[lot.account_id].append(lot)
    return found


def lots_of(payment: Payment) -> list[CreditLot]:
    """What is unused of a payment, locked. The caller has locked the account."""
    lots = CreditLot.objects.select_for_update(no_key=True)
    return list(lots.filter(payment=payment, remaining_micros__gt=0).order_by("pk"))


def take(lots: Sequence[CreditLot], amount_micros: int) -> tuple[list[Share], int]:
    """Take up to `amount_micros` out of `lots` (in memory); returns the shares and what is left."""
    shares: list[Share] = []
    for lot in lots:
        if amount_micros == 0:
            break
        part = min(lot.remaining_micros, amount_micros)
        if part:
            lot.remaining_micros -= part
            amount_micros -= part
            shares.append(Share(lot, part))
    return shares, amount_micros


def usage_postings(
    account: BillingAccount, shares: Sequence[Share], uncovered_micros: int
) -> tuple[PostingDraft, ...]:
    """Credit, and debt for what no credit covers, against revenue."""
    legs = taking_postings(account, shares, uncovered_micros)
    taken = sum(leg.amount_micros for leg in legs)
    return (*legs, PostingDraft(AccountCode.REVENUE_USAGE, -taken, account.currency))


def taking_postings(
    account: BillingAccount, shares: Sequence[Share], uncovered_micros: int
) -> tuple[PostingDraft, ...]:
    """The team's side: credit, and debt for what no credit covers."""
    debits: dict[AccountCode, int] = defaultdict(int)
    for share in shares:
        debits[code_of(share.lot.kind)] += share.amount_micros
    if uncovered_micros:
        debits[AccountCode.ACCOUNTS_RECEIVABLE] += uncovered_micros
    return tuple(
        PostingDraft(code, amount, account.currency, account.pk) for code, amount in debits.items()
    )


def save_consumption(taken: Sequence[tuple[JournalEntry, Sequence[Share]]]) -> None:
    """Write what `take` took in memory."""
    LotConsumption.objects.bulk_create(
        LotConsumption(lot=share.lot, entry=entry, amount_micros=share.amount_micros)
        for entry, shares in taken
        for share in shares
    )
    lots = {share.lot.pk: share.lot for _, shares in taken for share in shares}
    update_rows(lots.values(), ["remaining_micros"])


def debt_of(account: BillingAccount) -> int:
    """What the account owes beyond its credit, micro-units."""
    balances = LedgerAccount.objects.filter(
        account=account, code=AccountCode.ACCOUNTS_RECEIVABLE
    ).values_list("balance_micros", flat=True)
    return sum(balances)


def incoming_postings(
    account: BillingAccount, *, source: AccountCode, kind: LotKind, amount_micros: int
) -> tuple[tuple[PostingDraft, ...], int]:
    """Money or a gift from `source`, an account of the house, and what becomes of it.

    Returns the postings and the amount of the lot to open.
    """
    legs, rest = credit_postings(account, kind=kind, amount_micros=amount_micros)
    return (PostingDraft(source, amount_micros, account.currency), *legs), rest


def credit_postings(
    account: BillingAccount, *, kind: LotKind, amount_micros: int
) -> tuple[tuple[PostingDraft, ...], int]:
    """What the team is given: it pays debt first, the rest becomes credit.

    Returns the credit side of an entry and the amount of the lot to open.
    """
    pays = min(debt_of(account), amount_micros)
    rest = amount_micros - pays
    legs = []
    if pays:
        legs.append(
            PostingDraft(AccountCode.ACCOUNTS_RECEIVABLE, -pays, account.currency, account.pk)
        )
    if rest:
        legs.append(PostingDraft(code_of(kind), -rest, account.currency, account.pk))
    return tuple(legs), rest


def open_lot(
    account: BillingAccount,
    entry: JournalEntry,
    *,
    kind: LotKind,
    amount_micros: int,
    expires_at: datetime | None = None,
    payment: Payment | None = None,
) -> None:
    """Credit that `entry` brought in; nothing when all of it paid debt.

    `payment` is where bought credit came from: it goes back there when it is refunded.
    """
    if amount_micros:
        CreditLot.objects.create(
            account=account,
            payment=payment,
            kind=kind,
            amount_micros=amount_micros,
            remaining_micros=amount_micros,
            entry=entry,
            expires_at=expires_at,
        )
