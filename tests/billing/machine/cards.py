"""Rules of the saved card and the payment page, at the sandbox: a process that speaks HTTP.

Answers are lost, errors come before the deed and after it, nobody answers at all. What is true
there is read from it, never from our books.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import httpx
import stripe
from django.db import transaction
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from billing.actions.auto_top_up import request, run_due, set_rule
from billing.actions.ladder import watch_runway
from billing.actions.payments import settle_session
from billing.actions.psp_sync import sync_movements
from billing.actions.recovery import (
    KEY_LIFE,
    LEAST_AGE,
    SEEN_EVERY,
    recover_payment,
    recover_payments,
    recover_refund,
    recover_refunds,
)
from billing.actions.refunds import refund_payment, settle_refund
from billing.actions.topups import start_top_up
from billing.choices import PaymentPurpose, PaymentStatus, RefundStatus
from billing.gateways.records import Movement, movements_since
from billing.gateways.refunds import fetch_refund
from billing.models import AutoTopUp, BillingAccount, CreditLot, Payment, Refund
from billing.models.payment import IN_FLIGHT
from billing.queries.periods import period_of
from billing.queries.refunds import refundable_cents
from portal.lib.errors import Conflict, InvalidInput, Unavailable
from portal.lib.money import from_cents
from tests.billing.machine.base import Base, numbers, refused, shares
from tests.billing.machine.model import AutoRule, Paid
from tests.billing.sandbox.harness import SECRET_KEY
from tests.ports import free_port

# How often each has to happen until our client gives up, and whether the deed was done.
FAULTS = {"drop_response": (1, True), "error_after": (3, True), "error_before": (3, False)}
faults = st.sampled_from(["", "", *FAULTS, "silence"])


@dataclass
class Sandbox:
    """What of the sandbox is this example's: everything since `since`, by its own clock."""

    since: datetime | None = None
    pages: list[str] = field(default_factory=list)
    refunds: list[str] = field(default_factory=list)


class CardRules(Base):
    """Automatic top-up, the payment page, and refunds asked for here."""

    moved_by: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        self.sandbox = Sandbox()

    # --- Asking ----------------------------------------------------------------------------------

    @rule(
        threshold=st.integers(0, 200_00),
        amount=st.integers(5_00, 100_00),
        more=st.sampled_from([0, 50_00, 500_00]),
    )
    def set_automatic(self, threshold: int, amount: int, more: int) -> None:
        self._enter()
        rule = AutoRule(threshold, amount, amount + more)
        set_rule(
            self.owner,
            threshold_cents=threshold,
            amount_cents=amount,
            monthly_maximum_cents=rule.maximum,
        )
        self.model.auto = rule

    @rule(fault=faults, is_sweep=st.booleans())
    @precondition(lambda self: self.model.auto)
    def top_up_automatically(self, fault: str, is_sweep: bool) -> None:
        """It charges where the model says so, and nowhere else (I18)."""
        rule = self.model.auto
        assert rule is not None
        if is_sweep:
            self._new_month()
        due = self.model.may_charge(self.available())
        is_over = due is not None and self._is_over_maximum(due)
        with self._failing("/v1/payment_intents", fault) as is_done:
            try:
                run_due() if is_sweep else request(self.account.pk)
            except Unavailable:
                assert fault
        if due is not None and is_over:
            rule.paused_at, rule.is_at_maximum = self.model.now, True
            due = None
        self._note_charge(due, is_charged=is_done)
        self._compare()

    @rule(cents=st.integers(5_00, 300_00), number=st.sampled_from(["", "4000 0000 0000 0002"]))
    def pay_on_the_page(self, cents: int, number: str) -> None:
        """A card that is declined leaves the page as it was."""
        self._enter()
        url = start_top_up(self.owner, amount_cents=cents)
        payment = Payment.objects.latest("pk")
        model = self.model
        model.payments[payment.public_id] = Paid(
            payment.public_id, cents, model.credit_tax(cents), model.now, is_charged=not number
        )
        self.box.pay(url, **({"number": number} if number else {}))
        self.sandbox.pages.append(payment.checkout_session_id or "")

    @rule(which=numbers, share=shares, beyond=st.booleans(), fault=faults)
    @precondition(lambda self: self._paid_there())
    def refund_ours(self, which: int, share: int, beyond: bool, fault: str) -> None:
        """Never above what is unused of the payment, less what is held (I15)."""
        payment = self.pick(self._paid_there(), which)
        lots = CreditLot.objects.filter(payment=payment)
        unused = sum(lots.values_list("remaining_micros", flat=True))
        gone = payment.refunds.exclude(status=RefundStatus.FAILED)
        to_go = payment.net_micros - sum(gone.values_list("net_micros", flat=True))
        left = max(0, min(unused, to_go, self.available())) // from_cents(1)
        assert refundable_cents(payment) == left
        if beyond or not left:
            with refused(InvalidInput):
                refund_payment(self.owner, payment, net_cents=left + 1)
            return
        cents = max(1, left * share // 100)
        with self._failing("/v1/refunds", fault):
            try:
                refund_payment(self.owner, payment, net_cents=cents)
            except Unavailable:
                assert fault
        refund = Refund.objects.latest("pk")
        assert refund.net_micros == from_cents(cents)
        # Stripe refuses where somebody has refunded in the dashboard meanwhile.
        expected = {RefundStatus.DRAFT if fault else RefundStatus.SUCCEEDED}
        assert refund.status in expected | (
            {RefundStatus.FAILED} if self.sandbox.refunds else set()
        )
        self._compare()

    @rule(which=numbers, share=shares, told=st.sampled_from(["now", "later"]))
    @precondition(lambda self: self._paid_there())
    def refund_in_the_dashboard(self, which: int, share: int, told: str) -> None:
        """Staff refund at Stripe itself: even what is used up, and then it is owed."""
        self._enter()
        payment = self.pick(self._paid_there(), which)
        charge = self.box.server.client.v1.charges.list(
            {"payment_intent": payment.payment_intent_id or ""}
        ).data[0]
        cents = (charge.amount - charge.amount_refunded) * share // 100
        if not cents:
            return
        made = self.box.server.client.v1.refunds.create({"charge": charge.id, "amount": cents})
        self.sandbox.refunds.append(made.id)
        if told == "now":
            self._hear_of_refunds()

    # --- Finding out -----------------------------------------------------------------------------

    @rule(which=numbers)
    @precondition(lambda self: self.sandbox.pages)
    def return_from_the_page(self, which: int) -> None:
        """By the return page, a webhook, or both; or never."""
        self._settle(self.sandbox.pages.pop(which % len(self.sandbox.pages)))

    @rule()
    @precondition(lambda self: self.sandbox.since)
    def recover(self) -> None:
        """The sweep: each charge that is due for a look is settled by what is true at Stripe."""
        self._enter()
        now = self.model.now
        due = [one for one in self._in_flight() if _is_due(one, now)]
        recover_payments()
        recover_refunds()
        for payment in due:
            self._note_recovered(payment)
        for refund in Refund.objects.filter(status=RefundStatus.DRAFT):
            assert refund.created_at > now - LEAST_AGE
        self._compare()

    @rule(hours=st.integers(24, 72))
    @precondition(lambda self: bool(self._in_flight() or _unsent()))
    def stay_away_until_keys_are_forgotten(self, hours: int) -> None:
        """Stripe keeps the answer to a key for a day."""
        self.forward(timedelta(hours=hours))
        self._advance(24 * 3600 + 1)

    def watch(self) -> None:
        """The ladder asks the card as it sees the end of credit."""
        due = self.model.may_charge(self.available()) if self.sandbox.since else None
        known = Payment.objects.filter(purpose=PaymentPurpose.AUTO_TOP_UP).count()
        if self.sandbox.since:
            self._enter()
        watch_runway()
        if Payment.objects.filter(purpose=PaymentPurpose.AUTO_TOP_UP).count() > known:
            self._note_charge(due, is_charged=True)
        elif due is not None and AutoTopUp.objects.get().pause_reason:
            assert self._is_over_maximum(due)
            assert self.model.auto is not None
            self.model.auto.paused_at = self.model.now
            self.model.auto.is_at_maximum = True

    def read_the_sandbox(self) -> None:
        """What reconciliation does of all that is in flight, however young it is."""
        if self.sandbox.since is None:
            return
        self._enter()
        while self.sandbox.pages:
            self._settle(self.sandbox.pages.pop())
        for payment in self._in_flight():
            recover_payment(payment)
            self._note_recovered(payment)
        for refund in _unsent():
            recover_refund(refund)
        self._hear_of_refunds()
        assert self.sandbox.refunds == []
        sync_movements(self.sandbox.since)
        self._compare()

    def sandbox_balance_cents(self) -> int:
        return sum(movement.net_cents for movement in self._movements())

    # --- Hands -----------------------------------------------------------------------------------

    def _enter(self) -> None:
        """Its clock is never behind ours, and this example has a second of its own to begin in.

        The card is saved with the first call.
        """
        server = self.box.server
        behind = self.model.now - self._there_now()
        if behind > timedelta(0):
            self._advance(int(behind.total_seconds()) + 1)
        if self.sandbox.since is None:
            self._advance(2)
            self.sandbox.since = self._there_now()
            # Of its own: the key we would make one with is remembered from the example before.
            customer = server.client.v1.customers.create()
            BillingAccount.objects.filter(pk=self.account.pk).update(stripe_customer_id=customer.id)
            self.box.save_card(self.owner)

    def _there_now(self) -> datetime:
        """Its time: the real one, and what we have moved it by; in whole seconds."""
        real = datetime.now(UTC).replace(microsecond=0)
        return real + timedelta(seconds=CardRules.moved_by)

    def _advance(self, seconds: int) -> None:
        self.box.server.advance(seconds)
        CardRules.moved_by += seconds

    @contextmanager
    def _failing(self, path: str, fault: str) -> Iterator[bool]:
        """Something goes wrong inside; yields whether the deed is done all the same."""
        self._enter()
        if not fault:
            yield True
            return
        if fault == "silence":
            self.settings.STRIPE_API_BASE = f"http://127.0.0.1:{free_port()}"
            try:
                yield False
            finally:
                self.settings.STRIPE_API_BASE = self.box.server.url
            return
        count, is_done = FAULTS[fault]
        self.box.dial(what=fault, method="POST", path=path, count=str(count))
        try:
            yield is_done
        finally:
            self._call("DELETE", "faults")

    def _call(self, method: str, what: str) -> Any:
        auth = {"Authorization": f"Bearer {SECRET_KEY}"}
        url = f"{self.box.server.url}/_sandbox/{what}"
        return httpx.request(method, url, headers=auth).json()

    def _new_month(self) -> None:
        """The sweep lifts a pause for the maximum when a month begins."""
        rule = self.model.auto
        month = period_of(self.model.now)[0]
        if rule and rule.is_at_maximum and rule.paused_at and rule.paused_at < month:
            rule.paused_at, rule.is_at_maximum = None, False

    def _is_over_maximum(self, due: Paid) -> bool:
        assert self.model.auto is not None
        return self.model.charged_this_month() + due.cents > self.model.auto.maximum

    def _note_charge(self, due: Paid | None, *, is_charged: bool) -> None:
        """What was charged is what was due, whether its answer came or not."""
        known = self.model.payments
        new = Payment.objects.exclude(public_id__in=known)
        assert new.count() == (due is not None)
        if due is None:
            return
        payment = new.get()
        assert payment.net_micros == from_cents(due.net_cents)
        assert payment.tax_micros == from_cents(due.tax_cents)
        due.reference, due.is_charged = payment.public_id, is_charged
        due.is_told = payment.status == PaymentStatus.SUCCEEDED
        known[due.reference] = due

    def _note_recovered(self, payment: Payment) -> None:
        """A charge that was never sent is sent now, or given up when its key is forgotten."""
        paid = self.model.payments[payment.public_id]
        is_old = self.model.now - payment.created_at > KEY_LIFE
        status = Payment.objects.get(pk=payment.pk).status
        if payment.card_id is None:
            paid.is_told = paid.is_charged
            return
        if not paid.is_charged and is_old:
            assert status == PaymentStatus.FAILED
            paid.is_given_up = True
            rule = self.model.auto
            if rule and rule.paused_at is None:
                rule.paused_at, rule.is_at_maximum = self.model.now, False
            return
        paid.is_charged = paid.is_told = True
        assert status == PaymentStatus.SUCCEEDED

    def _settle(self, session_id: str) -> None:
        for _ in range(2):
            payment = settle_session(session_id)
        paid = self.model.payments[payment.public_id]
        paid.is_told = paid.is_charged

    def _hear_of_refunds(self) -> None:
        """Those made in the dashboard; they wait while one of ours is not known to have failed."""
        fetched = {key: fetch_refund(key) for key in self.sandbox.refunds}
        for key in list(self.sandbox.refunds):
            try:
                with transaction.atomic():
                    settle_refund(fetched[key])
            except Conflict:
                assert _unsent()
            else:
                self.sandbox.refunds.remove(key)

    def _compare(self) -> None:
        """Of each charge there is one at Stripe or none, as the model has it; so of refunds."""
        found: dict[str, list[str]] = {}
        client = self.box.server.client.v1
        listed = client.payment_intents.list(
            {"customer": self._customer(), "limit": 100}
        ).auto_paging_iter()
        for intent in listed:
            if intent.status == "succeeded":
                found.setdefault(intent.to_dict()["metadata"]["payment"], []).append(intent.id)
        assert all(len(ids) == 1 for ids in found.values())
        there = {paid.reference for paid in self._there() if paid.is_charged}
        assert found.keys() == there
        for payment in Payment.objects.filter(public_id__in=there, status="succeeded"):
            assert [payment.payment_intent_id] == found[payment.public_id]
        named = (one.to_dict()["metadata"].get("refund") for one in self._refunds_there(found))
        sent = [name for name in named if name]
        assert len(sent) == len(set(sent))
        done = Refund.objects.filter(status="succeeded", payment__public_id__in=there)
        done = done.exclude(reason="Made at Stripe")
        assert {refund.public_id for refund in done} <= set(sent)

    def _refunds_there(self, found: dict[str, list[str]]) -> Iterator[stripe.Refund]:
        refunds = self.box.server.client.v1.refunds
        for reference, (intent_id,) in found.items():
            if Refund.objects.filter(payment__public_id=reference).exists():
                yield from refunds.list({"payment_intent": intent_id, "limit": 100}).data

    def _there(self) -> list[Paid]:
        return [one for one in self.model.payments.values() if not one.intent_id]

    def _paid_there(self) -> list[Payment]:
        names = [paid.reference for paid in self._there() if paid.is_told]
        return list(Payment.objects.filter(public_id__in=names).order_by("pk"))

    def _in_flight(self) -> list[Payment]:
        names = [paid.reference for paid in self._there()]
        found = Payment.objects.filter(public_id__in=names, status__in=IN_FLIGHT)
        return list(found.order_by("pk"))

    def _customer(self) -> str:
        self.account.refresh_from_db()
        return self.account.stripe_customer_id or ""

    def _movements(self) -> list[Movement]:
        return list(movements_since(self.sandbox.since)) if self.sandbox.since else []


def _unsent() -> list[Refund]:
    return list(Refund.objects.filter(status=RefundStatus.DRAFT))


def _is_due(payment: Payment, now: datetime) -> bool:
    if payment.created_at > now - LEAST_AGE:
        return False
    if payment.looked_at is None:
        return True
    age = payment.looked_at - payment.created_at
    return now - payment.looked_at >= min(age / 4, SEEN_EVERY)
