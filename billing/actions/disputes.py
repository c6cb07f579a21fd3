"""Payments that the cardholder's bank takes back, and what becomes of the credit they bought."""

from __future__ import annotations

from django.db import transaction

from accounts.actions import audit
from accounts.actor import Actor
from billing.actions.accounts import lock_account
from billing.actions.ledger import PostingDraft, post_entry
from billing.actions.lots import credit_postings, lots_of, open_lot, save_consumption, take
from billing.choices import AccountCode, DisputeStatus, EntryKind, LotKind, PaymentStatus
from billing.gateways.records import DisputeFacts, fetch_dispute
from billing.models import BillingAccount, Dispute, JournalEntry, Payment
from portal.lib import clock
from portal.lib.errors import NotFound
from portal.lib.money import from_cents
from portal.lib.states import Transitions

MOVES: Transitions[DisputeStatus] = Transitions(
    {
        DisputeStatus.INQUIRY: frozenset(
            {DisputeStatus.OPEN, DisputeStatus.WON, DisputeStatus.LOST}
        ),
        DisputeStatus.OPEN: frozenset({DisputeStatus.WON, DisputeStatus.LOST}),
        DisputeStatus.WON: frozenset(),
        DisputeStatus.LOST: frozenset(),
    }
)


def settle_dispute_id(stripe_dispute_id: str) -> Dispute:
    """`settle_dispute` with what Stripe says now."""
    return settle_dispute(fetch_dispute(stripe_dispute_id))


@transaction.atomic
def settle_dispute(facts: DisputeFacts) -> Dispute:
    """Apply what Stripe says of a dispute; once for each step, in whatever order news comes.

    An inquiry moves nothing. When money is withdrawn, unused credit of the payment is set aside;
    it comes back when the dispute is won and pays for part of the loss when it is lost. Raises
    NotFound where the payment is not ours.
    """
    payment = Payment.objects.filter(
        payment_intent_id=facts.intent_id, status=PaymentStatus.SUCCEEDED
    ).first()
    if payment is None or facts.intent_id is None:
        raise NotFound(f"No payment of ours has the dispute {facts.id}.")
    account = lock_account(payment.account_id)
    dispute, _ = Dispute.objects.get_or_create(
        stripe_dispute_id=facts.id,
        defaults={
            "payment": payment,
            "amount_micros": from_cents(facts.amount_cents),
            "reason": facts.reason[:60],
        },
    )
    if facts.took_money and dispute.status == DisputeStatus.INQUIRY:
        _open(account, dispute)
    target = DisputeStatus(facts.status)
    if MOVES.may(DisputeStatus(dispute.status), target):
        _close(account, dispute, target)
    dispute.save()
    return dispute


def _open(account: BillingAccount, dispute: Dispute) -> None:
    shares, _ = take(lots_of(dispute.payment), dispute.amount_micros)
    dispute.withheld_micros = sum(share.amount_micros for share in shares)
    dispute.status = DisputeStatus.OPEN
    entry = _post(
        dispute,
        "opened",
        EntryKind.DISPUTE,
        [
            PostingDraft(AccountCode.DISPUTE_RECEIVABLE, dispute.amount_micros, account.currency),
            PostingDraft(AccountCode.PSP_CLEARING, -dispute.amount_micros, account.currency),
            _own(account, AccountCode.CUSTOMER_CREDIT, dispute.withheld_micros),
            _own(account, AccountCode.REFUNDS_PENDING, -dispute.withheld_micros),
        ],
    )
    save_consumption([(entry, shares)])
    audit.record(
        Actor.system("dispute opened at Stripe"),
        "dispute.opened",
        team=account.team,
        object_id=dispute.payment.public_id,
        amount_micros=dispute.amount_micros,
        withheld_micros=dispute.withheld_micros,
    )


def _close(account: BillingAccount, dispute: Dispute, target: DisputeStatus) -> None:
    was_open = dispute.status == DisputeStatus.OPEN
    dispute.status = target
    if target == DisputeStatus.OPEN:
        return
    dispute.closed_at = clock.now()
    if not was_open:
        return  # an inquiry that ended: no money had moved
    if target == DisputeStatus.WON:
        _won(account, dispute)
    else:
        _lost(account, dispute)


def _won(account: BillingAccount, dispute: Dispute) -> None:
    legs, rest = credit_postings(
        account, kind=LotKind.PURCHASED, amount_micros=dispute.withheld_micros
    )
    entry = _post(
        dispute,
        "won",
        EntryKind.DISPUTE_WON,
        [
            PostingDraft(AccountCode.PSP_CLEARING, dispute.amount_micros, account.currency),
            PostingDraft(AccountCode.DISPUTE_RECEIVABLE, -dispute.amount_micros, account.currency),
            _own(account, AccountCode.REFUNDS_PENDING, dispute.withheld_micros),
            *legs,
        ],
        reverses="opened",
    )
    open_lot(account, entry, kind=LotKind.PURCHASED, amount_micros=rest, payment=dispute.payment)


def _lost(account: BillingAccount, dispute: Dispute) -> None:
    """The credit that was set aside is gone; what had been used already is our loss."""
    loss = dispute.amount_micros - dispute.withheld_micros
    _post(
        dispute,
        "lost",
        EntryKind.DISPUTE_LOST,
        [
            _own(account, AccountCode.REFUNDS_PENDING, dispute.withheld_micros),
            PostingDraft(AccountCode.DISPUTE_LOSS, loss, account.currency),
            PostingDraft(AccountCode.DISPUTE_RECEIVABLE, -dispute.amount_micros, account.currency),
        ],
    )


def _own(account: BillingAccount, code: AccountCode, amount_micros: int) -> PostingDraft:
    return PostingDraft(code, amount_micros, account.currency, account.pk)


def _post(
    dispute: Dispute,
    step: str,
    kind: EntryKind,
    postings: list[PostingDraft],
    *,
    reverses: str = "",
) -> JournalEntry:
    """One step of a dispute; `reverses` names the step it undoes."""
    return post_entry(
        kind=kind,
        idempotency_key=_key(dispute, step),
        effective_at=clock.now(),
        postings=[leg for leg in postings if leg.amount_micros],
        memo=f"{dispute.stripe_dispute_id} of {dispute.payment.public_id}",
        reverses=JournalEntry.objects.get(idempotency_key=_key(dispute, reverses))
        if reverses
        else None,
    )


def _key(dispute: Dispute, step: str) -> str:
    return f"dispute:{dispute.stripe_dispute_id}:{step}"
