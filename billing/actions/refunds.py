"""Unused bought credit goes back to the card it came from."""

from __future__ import annotations

import uuid

from django.db import transaction
from django.db.models import BigIntegerField, F, Value

from accounts.access import require_owner
from accounts.actions import audit
from accounts.actor import Actor
from billing.actions.accounts import lock_account
from billing.actions.ledger import PostingDraft, post_entry
from billing.actions.lots import credit_postings, lots_of, open_lot, save_consumption, take
from billing.actions.refund_tax import tax_share, tax_within
from billing.choices import AccountCode, EntryKind, LotKind, PaymentStatus, RefundStatus
from billing.gateways.client import Refused
from billing.gateways.refunds import RefundFacts, create_refund, fetch_refund
from billing.models import BillingAccount, JournalEntry, Payment, Refund
from billing.queries.refunds import refundable_cents
from portal.lib import clock
from portal.lib.errors import Conflict, InvalidInput, NotFound
from portal.lib.money import format_money, from_cents, to_cents
from portal.lib.states import Transitions

MAX_REASON = 300
MOVES: Transitions[RefundStatus] = Transitions(
    {
        RefundStatus.DRAFT: frozenset(
            {RefundStatus.PENDING, RefundStatus.SUCCEEDED, RefundStatus.FAILED}
        ),
        RefundStatus.PENDING: frozenset({RefundStatus.SUCCEEDED, RefundStatus.FAILED}),
        # A bank may send the money back days after it took it.
        RefundStatus.SUCCEEDED: frozenset({RefundStatus.FAILED}),
        RefundStatus.FAILED: frozenset(),
    }
)


def refund_payment(
    actor: Actor, payment: Payment, *, net_cents: int | None = None, reason: str = ""
) -> Refund:
    """Send back `net_cents` of unused credit of a payment and the tax on it; all of it if None.

    Only an owner or staff may. The credit is set aside at once. Raises InvalidInput above what is
    unused, Unavailable when Stripe does not answer: then the refund stays and is sent again with
    the same key. Must not be called inside a transaction.
    """
    require_owner(actor)
    return submit_refund(_intend(actor, payment, net_cents, reason))


def submit_refund(refund: Refund) -> Refund:
    """Send a refund, once or again, and settle it by the answer."""
    try:
        facts = create_refund(
            reference=refund.public_id,
            intent_id=refund.payment.payment_intent_id or "",
            amount_cents=to_cents(refund.amount_micros),
            idempotency_key=refund.idempotency_key,
        )
    except (Refused, NotFound) as refusal:
        return give_refund_up(refund, message=refusal.message)
    return settle_refund(facts)


def give_refund_up(refund: Refund, *, message: str) -> Refund:
    """Note that Stripe made nothing of it: the credit is the team's again."""
    return _apply(refund.pk, RefundStatus.FAILED, stripe_id=None, failure=message)


def settle_refund(facts: RefundFacts) -> Refund:
    """Apply what Stripe says of a refund; one that was made at Stripe itself is taken over.

    Raises NotFound where the payment is not ours, Conflict where more would have gone back than was
    paid: news of a refund that failed is still on its way then.
    """
    refund = Refund.objects.filter(public_id=facts.reference).first()
    refund = refund or Refund.objects.filter(stripe_refund_id=facts.id).first()
    if refund is None:
        refund = _adopt(facts)
    if to_cents(refund.amount_micros) != facts.amount_cents:
        raise Conflict(f"Stripe has {facts.amount_cents} for {refund.public_id}.")
    return _apply(refund.pk, facts.status, stripe_id=facts.id, failure=facts.failure)


def settle_refund_id(stripe_refund_id: str) -> Refund:
    """`settle_refund` with what Stripe says now."""
    return settle_refund(fetch_refund(stripe_refund_id))


@transaction.atomic
def _intend(actor: Actor, payment: Payment, net_cents: int | None, reason: str) -> Refund:
    """The refund and its key, and the credit set aside, committed before Stripe hears of it."""
    account = lock_account(payment.account_id)
    locked = Payment.objects.select_for_update(no_key=True).get(pk=payment.pk)
    left = refundable_cents(locked)
    asked = left if net_cents is None else net_cents
    if len(reason) > MAX_REASON or "\0" in reason:
        raise InvalidInput.of(reason=f"Say why in at most {MAX_REASON} characters.")
    if not 0 < asked <= left:
        most = format_money(from_cents(left))
        raise InvalidInput.of(
            amount=f"At most {most} of this payment is unused." if left
            else "Nothing of this payment is left to refund."
        )  # fmt: skip
    refund = _set_aside(account, locked, net_cents=asked, reason=reason.strip())
    audit.record(
        actor,
        "refund.asked",
        team=account.team,
        object_id=refund.public_id,
        amount_micros=refund.amount_micros,
        memo=reason.strip(),
    )
    return refund


def _set_aside(account: BillingAccount, payment: Payment, *, net_cents: int, reason: str) -> Refund:
    net = from_cents(net_cents)
    tax = tax_share(payment, net)
    refund = _new(payment, net=net, tax=tax, reason=reason)
    lots = lots_of(payment)
    shares, missing = take(lots, net)
    if missing:
        raise Conflict("The credit was used meanwhile. Ask for less.")
    entry = _post(
        refund,
        "ask",
        EntryKind.REFUND,
        [
            PostingDraft(AccountCode.CUSTOMER_CREDIT, net, account.currency, account.pk),
            PostingDraft(AccountCode.TAX_PAYABLE, tax, account.currency),
            PostingDraft(
                AccountCode.REFUNDS_PENDING, -refund.amount_micros, account.currency, account.pk
            ),
        ],
    )
    save_consumption([(entry, shares)])
    return refund


def _new(payment: Payment, *, net: int, tax: int, reason: str, stripe_id: str = "") -> Refund:
    _note_refunded(payment, net + tax)
    return Refund.objects.create(
        payment=payment,
        amount_micros=net + tax,
        net_micros=net,
        tax_micros=tax,
        reason=reason,
        idempotency_key=f"refund-{uuid.uuid4()}",
        stripe_refund_id=stripe_id or None,
    )


@transaction.atomic
def _adopt(facts: RefundFacts) -> Refund:
    """A refund made in Stripe's dashboard: unused credit goes first, then it is owed."""
    payment = Payment.objects.filter(
        payment_intent_id=facts.intent_id, status=PaymentStatus.SUCCEEDED
    ).first()
    if payment is None or facts.intent_id is None:
        raise NotFound(f"No payment of ours has the refund {facts.id}.")
    account = lock_account(payment.account_id)
    known = Refund.objects.filter(stripe_refund_id=facts.id).first()
    if known is not None:
        return known
    total = from_cents(facts.amount_cents)
    tax = tax_within(payment, total)
    net = total - tax
    refund = _new(payment, net=net, tax=tax, reason="Made at Stripe", stripe_id=facts.id)
    lots = lots_of(payment)
    shares, missing = take(lots, net)
    entry = _post(
        refund,
        "ask",
        EntryKind.REFUND,
        [
            PostingDraft(AccountCode.CUSTOMER_CREDIT, net - missing, account.currency, account.pk),
            PostingDraft(AccountCode.ACCOUNTS_RECEIVABLE, missing, account.currency, account.pk),
            PostingDraft(AccountCode.TAX_PAYABLE, tax, account.currency),
            PostingDraft(AccountCode.REFUNDS_PENDING, -total, account.currency, account.pk),
        ],
    )
    save_consumption([(entry, shares)])
    return refund


@transaction.atomic
def _apply(refund_pk: int, status: RefundStatus, *, stripe_id: str | None, failure: str) -> Refund:
    payment = Payment.objects.get(refunds=refund_pk)
    account = lock_account(payment.account_id)
    refund = Refund.objects.select_for_update(no_key=True, of=("self",)).get(pk=refund_pk)
    refund.stripe_refund_id = refund.stripe_refund_id or stripe_id
    before = RefundStatus(refund.status)
    if MOVES.may(before, status):
        refund.status = status
        if status == RefundStatus.SUCCEEDED:
            _paid_out(account, refund)
        elif status == RefundStatus.FAILED:
            refund.failure_message = failure[:300]
            _put_back(account, refund, was_paid_out=before == RefundStatus.SUCCEEDED)
    refund.save()
    return refund


def _paid_out(account: BillingAccount, refund: Refund) -> None:
    refund.settled_at = clock.now()
    _post(
        refund,
        "paid",
        EntryKind.REFUND_PAID,
        [
            PostingDraft(
                AccountCode.REFUNDS_PENDING, refund.amount_micros, account.currency, account.pk
            ),
            PostingDraft(AccountCode.PSP_CLEARING, -refund.amount_micros, account.currency),
        ],
    )


def _put_back(account: BillingAccount, refund: Refund, *, was_paid_out: bool) -> None:
    """The team has its credit again; money that had left us is back at Stripe first."""
    if was_paid_out:
        _post(
            refund,
            "returned",
            EntryKind.REFUND_RETURNED,
            [
                PostingDraft(AccountCode.PSP_CLEARING, refund.amount_micros, account.currency),
                PostingDraft(
                    AccountCode.REFUNDS_PENDING, -refund.amount_micros, account.currency, account.pk
                ),
            ],
            reverses="paid",
        )
    legs, rest = credit_postings(account, kind=LotKind.PURCHASED, amount_micros=refund.net_micros)
    entry = _post(
        refund,
        "failed",
        EntryKind.REFUND_FAILED,
        [
            PostingDraft(
                AccountCode.REFUNDS_PENDING, refund.amount_micros, account.currency, account.pk
            ),
            *legs,
            PostingDraft(AccountCode.TAX_PAYABLE, -refund.tax_micros, account.currency),
        ],
        reverses="ask",
    )
    open_lot(account, entry, kind=LotKind.PURCHASED, amount_micros=rest, payment=refund.payment)
    _note_refunded(refund.payment, -refund.amount_micros)


def _note_refunded(payment: Payment, micros: int) -> None:
    """Bring along what has gone back of a payment: the database keeps it within what was paid."""
    change = Value(micros, BigIntegerField())  # untyped, it is sent as a number of four bytes
    Payment.objects.filter(pk=payment.pk).update(refunded_micros=F("refunded_micros") + change)


def _post(
    refund: Refund, step: str, kind: EntryKind, postings: list[PostingDraft], *, reverses: str = ""
) -> JournalEntry:
    """One step of a refund; `reverses` names the step it undoes."""
    return post_entry(
        kind=kind,
        idempotency_key=_key(refund, step),
        effective_at=clock.now(),
        postings=[leg for leg in postings if leg.amount_micros],
        memo=f"{refund.public_id} of {refund.payment.public_id}",
        reverses=JournalEntry.objects.get(idempotency_key=_key(refund, reverses))
        if reverses
        else None,
    )


def _key(refund: Refund, step: str) -> str:
    return f"refund:{refund.public_id}:{step}"
