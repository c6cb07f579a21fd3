"""The order in which credit is used up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from billing.actions.lots import in_order, take, usable_lots
from billing.actions.metering import rate_open_intervals
from billing.choices import AccountCode, LotKind
from billing.models import BillingAccount, CreditLot
from portal.lib.money import MICROS
from tests.billing.actions.lots import add_lot
from tests.billing.books import assert_books, balance
from tests.billing.conftest import START, Metered

SOON = datetime(2026, 6, 1, tzinfo=UTC)


def lot(pk: int, kind: LotKind, expires_at: datetime | None = None, left: int = 10) -> CreditLot:
    return CreditLot(
        pk=pk, kind=kind, amount_micros=left, remaining_micros=left, expires_at=expires_at
    )


def test_given_before_bought_then_soonest_then_oldest() -> None:
    lots = [
        lot(1, LotKind.PURCHASED),
        lot(2, LotKind.PURCHASED, SOON),
        lot(3, LotKind.GOODWILL),
        lot(4, LotKind.PROMOTIONAL),
        lot(5, LotKind.PROMOTIONAL, SOON + timedelta(days=1)),
        lot(6, LotKind.PROMOTIONAL, SOON),
        lot(7, LotKind.PROMOTIONAL),
    ]
    assert [each.pk for each in in_order(lots)] == [6, 5, 4, 7, 3, 2, 1]


def test_take_crosses_lots_and_says_what_is_left() -> None:
    shares, left = take([lot(1, LotKind.PROMOTIONAL), lot(2, LotKind.PURCHASED)], 25)
    assert [(share.lot.pk, share.amount_micros) for share in shares] == [(1, 10), (2, 10)]
    assert left == 5


def test_expired_credit_is_not_used(account: BillingAccount) -> None:
    expired = add_lot(account, LotKind.PROMOTIONAL, MICROS, expires_at=START)
    assert expired not in usable_lots(account, at=START)
    assert expired in usable_lots(account, at=START - timedelta(seconds=1))


def test_usage_takes_promotional_credit_before_bought(
    account: BillingAccount, metered: Metered
) -> None:
    add_lot(account, LotKind.PURCHASED, 10 * MICROS)
    metered(quantity=10)
    rate_open_intervals(until=START + timedelta(hours=1))
    assert balance(account, AccountCode.CUSTOMER_CREDIT) == -10 * MICROS
    rate_open_intervals(until=START + timedelta(hours=2, minutes=30))
    assert balance(account, AccountCode.PROMO_CREDIT) == 0
    assert balance(account, AccountCode.CUSTOMER_CREDIT) == -7_500_000
    assert_books(account)
