"""What of a refund is tax: to the cent, and all of it with the last of the payment."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Sum

from billing.choices import RefundStatus
from billing.models import Payment
from portal.lib.errors import Conflict
from portal.lib.money import from_cents, to_cents


@dataclass(frozen=True, slots=True)
class Before:
    """What has gone back of a payment, micro-units."""

    net: int
    tax: int


def tax_share(payment: Payment, net_micros: int) -> int:
    """The tax that goes back with `net_micros`, in whole cents: all of it with the last of it."""
    before = _before(payment)
    owed = payment.tax_micros * (before.net + net_micros) // payment.net_micros
    return from_cents(max(0, to_cents(min(owed, payment.tax_micros) - before.tax)))


def tax_within(payment: Payment, total_micros: int) -> int:
    """The tax that is part of `total_micros`, so that neither it nor the net ever goes below zero.

    Raises Conflict above what is left of the payment.
    """
    before = _before(payment)
    net_left, tax_left = payment.net_micros - before.net, payment.tax_micros - before.tax
    if total_micros > net_left + tax_left:
        raise Conflict(
            f"More was refunded of {payment.public_id} than was paid: an earlier refund of it must "
            "have failed, and we have not heard of it."
        )
    owed = payment.tax_micros * (before.net + before.tax + total_micros) // payment.amount_micros
    tax = from_cents(to_cents(owed - before.tax))
    return min(max(tax, total_micros - net_left, 0), tax_left, total_micros)


def _before(payment: Payment) -> Before:
    refunds = payment.refunds.exclude(status=RefundStatus.FAILED)
    sums = refunds.aggregate(net=Sum("net_micros", default=0), tax=Sum("tax_micros", default=0))
    return Before(int(sums["net"]), int(sums["tax"]))
