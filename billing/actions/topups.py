"""Adding credit on Stripe's page."""

from __future__ import annotations

from urllib.parse import urlencode

from django.conf import settings
from django.db import transaction

from accounts.access import team_of
from accounts.actions import audit
from accounts.actor import Actor
from billing.access import account_of
from billing.actions.customers import ensure_customer
from billing.actions.payments import new_payment
from billing.choices import PaymentPurpose, PaymentStatus
from billing.gateways.checkout import open_page, payment_page
from billing.models import BillingAccount, Payment
from billing.queries.tax import TaxAmount, tax_on_credit
from portal.lib import clock
from portal.lib.errors import InvalidInput, Unavailable
from portal.lib.money import format_money, from_cents

MIN_CENTS = 5_00
MAX_CENTS = 5_000_00
RETURN_PATH = "/billing/top-up/return/"
CANCEL_PATH = "/billing/top-up/"


def start_top_up(actor: Actor, *, amount_cents: int) -> str:
    """Begin to add credit; returns the address of the page where it, and the tax on it, is paid.

    Any member of the team may. Raises InvalidInput outside $5 to $5,000, Unavailable when Stripe
    does not answer; then nothing was charged. Must not be called inside a transaction.
    """
    check_amount(amount_cents)
    account = account_of(actor)
    customer = ensure_customer(account)
    payment = _intend(actor, account, amount_cents, customer)
    session_id, url = open_page(payment.request, idempotency_key=payment.idempotency_key)
    # A webhook may have been faster: only a draft moves.
    Payment.objects.filter(pk=payment.pk, status=PaymentStatus.DRAFT).update(
        status=PaymentStatus.SUBMITTED, checkout_session_id=session_id
    )
    if url is None:
        raise Unavailable("The payment page is closed already. Start again.")
    return url


def check_amount(amount_cents: int, *, field: str = "amount") -> None:
    """Raises InvalidInput for what nobody may pay at once."""
    if not MIN_CENTS <= amount_cents <= MAX_CENTS:
        raise InvalidInput.of(
            **{
                field: f"Choose an amount from {format_money(from_cents(MIN_CENTS))} "
                f"to {format_money(from_cents(MAX_CENTS))}."
            }
        )


@transaction.atomic
def _intend(actor: Actor, account: BillingAccount, amount_cents: int, customer: str) -> Payment:
    """The payment, its key and its request, committed before Stripe hears of it."""
    tax = tax_on_credit(account, amount_cents, at=clock.now())
    payment = new_payment(
        account, purpose=PaymentPurpose.TOP_UP, net_cents=amount_cents, tax_cents=tax.cents
    )
    payment.request = _page(payment, tax, amount_cents, customer)
    payment.save(update_fields=["request"])
    audit.record(
        actor,
        "top_up.started",
        team=team_of(actor),
        object_id=payment.public_id,
        amount_micros=payment.amount_micros,
    )
    return payment


def _page(payment: Payment, tax: TaxAmount, amount_cents: int, customer: str) -> dict[str, object]:
    back = settings.SITE_URL + RETURN_PATH + "?" + urlencode({"payment": payment.public_id})
    return payment_page(
        reference=payment.public_id,
        net_cents=amount_cents,
        tax_cents=tax.cents,
        tax_name=tax.name,
        currency=payment.currency,
        customer_id=customer,
        success_url=back,
        cancel_url=settings.SITE_URL + CANCEL_PATH + "?canceled=1",
    )
