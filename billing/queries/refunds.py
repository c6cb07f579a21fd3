"""What can go back to the card."""

from __future__ import annotations

from django.db.models import Sum

from billing.choices import LotKind, PaymentStatus, RefundStatus
from billing.models import CreditLot, Payment, PspTransaction, Refund
from billing.queries.funds import funds_of
from portal.lib.money import MICROS_PER_CENT


def refundable_cents(payment: Payment) -> int:
    """Whole cents of unused bought credit of `payment` that are not set aside for running work.

    Use that is given back may make more of it unused than is left to go back to the card.
    """
    if payment.status != PaymentStatus.SUCCEEDED:
        return 0
    unused = CreditLot.objects.filter(payment=payment, kind=LotKind.PURCHASED).aggregate(
        total=Sum("remaining_micros", default=0)
    )["total"]
    gone = payment.refunds.exclude(status=RefundStatus.FAILED).aggregate(
        total=Sum("net_micros", default=0)
    )["total"]
    free = max(0, funds_of(payment.account).available_micros)
    return int(min(unused, free, payment.net_micros - gone)) // MICROS_PER_CENT


def on_their_way_cents() -> dict[str, int]:
    """What Stripe has taken for refunds that are not paid out yet, by currency."""
    pending = Refund.objects.filter(status=RefundStatus.PENDING).values("stripe_refund_id")
    taken = PspTransaction.objects.filter(type__in=["refund", "payment_refund"], source__in=pending)
    sums = taken.values("currency").annotate(total=Sum("amount_cents"))
    return {currency: -total for currency, total in sums.values_list("currency", "total")}
