"""Money in any order of events: a state machine against a model of a few sums.

Payments, refunds and disputes happen at a Stripe that is a few dictionaries; news of them comes
late, twice, in another order or never, until a reconciliation reads everything. Runs start, stop,
end unheard and fail by our fault; prices change; ticks come or do not; months are closed; the clock
jumps. After every step the books must agree with each other (I1, I3, I6, I7, I11, I13, I16), with
the model's balance, with Stripe (I14, I15) and each invoice with the raw usage (I12).

`MACHINE_STEPS=20000` (`make test-long`) goes on until so many steps were taken.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from accounts.actor import Actor
from accounts.models import Team
from billing.actions.accounts import ensure_account
from billing.actions.credit import grant_credit
from billing.actions.disputes import settle_dispute
from billing.actions.faults import Fault
from billing.actions.metering import (
    Resource,
    Start,
    close_interval,
    open_intervals,
    rate_open_intervals,
)
from billing.actions.month_close import close_due_months
from billing.actions.payments import new_payment, settle_payment
from billing.actions.prices import set_list_price
from billing.actions.receipts import document_payments
from billing.actions.refunds import settle_refund
from billing.choices import (
    DisputeStatus,
    EntryKind,
    InvoiceStatus,
    PaymentPurpose,
    PaymentStatus,
    RefundStatus,
)
from billing.gateways.facts import PaymentFacts
from billing.gateways.records import DisputeFacts
from billing.gateways.refunds import RefundFacts
from billing.models import BillingAccount, Dispute, Invoice, JournalEntry, Payment, Price
from billing.queries.books import differences
from billing.queries.funds import funds_of
from billing.queries.prices import price_for
from billing.queries.verify import mismatches
from portal.lib import clock
from portal.lib.money import cost_micros, duration_us, from_cents, to_cents
from tests.billing.books import assert_books

STEPS = int(os.environ.get("MACHINE_STEPS", "400"))
STARTED = datetime(2026, 5, 30, 12, tzinfo=UTC)
SYSTEM = Actor.system("the machine")
CODE = "a100-test"
GIVEN = 50_000_000
numbers = st.integers(0, 50)
taken = 0


@dataclass
class Run:
    """A run as it really was."""

    number: int
    attempt: int
    quantity: int
    unit_micros: int
    start: datetime
    end: datetime | None = None
    is_ours: bool = False

    def owed(self, now: datetime) -> int:
        """What it has come to, or would have without our fault."""
        if self.is_ours:
            return 0
        used = duration_us(self.start, self.end or now)
        return cost_micros(self.unit_micros, self.quantity, used)


@dataclass
class Stripe:
    """What happened there, and what we have not been told of yet."""

    payments: dict[str, PaymentFacts] = field(default_factory=dict)
    refunds: dict[str, RefundFacts] = field(default_factory=dict)
    disputes: dict[str, DisputeFacts] = field(default_factory=dict)
    news: list[str] = field(default_factory=list)

    def refunded(self, intent_id: str) -> int:
        """Cents of a payment that went back or are disputed."""
        gone = [(one.intent_id, one.amount_cents) for one in self.refunds.values()]
        gone += [(one.intent_id, one.amount_cents) for one in self.disputes.values()]
        return sum(cents for intent, cents in gone if intent == intent_id)


class Money(RuleBasedStateMachine):
    """One team's money."""

    account: BillingAccount

    def __init__(self) -> None:
        super().__init__()
        self.point = transaction.savepoint()
        self.now = STARTED
        self.context = clock.use(lambda: self.now)
        self.context.__enter__()
        self.stripe = Stripe()
        self.runs: list[Run] = []
        self.gifts = GIVEN
        self.count = 0

    def teardown(self) -> None:
        self.context.__exit__(None, None, None)
        transaction.savepoint_rollback(self.point)

    # --- Money -----------------------------------------------------------------------------------

    @rule(cents=st.integers(5_00, 500_00), is_told=st.booleans())
    def pay(self, cents: int, is_told: bool) -> None:
        payment = new_payment(self.account, purpose=PaymentPurpose.TOP_UP, net_cents=cents)
        intent = f"pi_{payment.public_id}"
        self.stripe.payments[intent] = PaymentFacts(
            reference=payment.public_id,
            status=PaymentStatus.SUCCEEDED,
            amount_cents=cents,
            currency="usd",
            intent_id=intent,
        )
        self._news(intent, is_told=is_told)

    @rule(which=numbers, share=st.integers(1, 100), is_told=st.booleans())
    @precondition(lambda self: self._paid())
    def refund_at_stripe(self, which: int, share: int, is_told: bool) -> None:
        intent = self._one(self._paid(), which)
        left = self.stripe.payments[intent].amount_cents - self.stripe.refunded(intent)
        cents = left * share // 100
        if not cents:
            return
        key = f"re_{self._next()}"
        self.stripe.refunds[key] = RefundFacts(
            id=key,
            reference="",
            intent_id=intent,
            amount_cents=cents,
            currency="usd",
            status=RefundStatus.PENDING,
            failure="",
        )
        self._news(key, is_told=is_told)

    @rule(which=numbers, is_paid=st.booleans(), is_told=st.booleans())
    @precondition(lambda self: self._pending())
    def refund_ends(self, which: int, is_paid: bool, is_told: bool) -> None:
        key = self._one(self._pending(), which)
        status = RefundStatus.SUCCEEDED if is_paid else RefundStatus.FAILED
        self.stripe.refunds[key] = replace(self.stripe.refunds[key], status=status)
        self._news(key, is_told=is_told)

    @rule(which=numbers, is_told=st.booleans())
    @precondition(lambda self: self._paid())
    def dispute(self, which: int, is_told: bool) -> None:
        intent = self._one(self._paid(), which)
        left = self.stripe.payments[intent].amount_cents - self.stripe.refunded(intent)
        if not left:
            return
        key = f"dp_{self._next()}"
        self.stripe.disputes[key] = DisputeFacts(
            id=key,
            intent_id=intent,
            amount_cents=left,
            currency="usd",
            status=DisputeStatus.OPEN,
            reason="fraudulent",
            took_money=True,
        )
        self._news(key, is_told=is_told)

    @rule(which=numbers, is_won=st.booleans(), is_told=st.booleans())
    @precondition(lambda self: self._open())
    def dispute_ends(self, which: int, is_won: bool, is_told: bool) -> None:
        key = self._one(self._open(), which)
        status = DisputeStatus.WON if is_won else DisputeStatus.LOST
        self.stripe.disputes[key] = replace(self.stripe.disputes[key], status=status)
        self._news(key, is_told=is_told)

    @rule(which=numbers, times=st.integers(0, 3))
    @precondition(lambda self: self.stripe.news)
    def deliver(self, which: int, times: int) -> None:
        """Any piece of news, in any order, so often; 0: never."""
        key = self.stripe.news.pop(which % len(self.stripe.news))
        for _ in range(times):
            self._tell(key)

    @rule()
    def reconcile(self) -> None:
        """Everything is read at Stripe, whatever was told."""
        for key in [*self.stripe.payments, *self.stripe.refunds, *self.stripe.disputes]:
            self._tell(key)

    @rule(cents=st.integers(1, 20_00))
    def give(self, cents: int) -> None:
        self.gifts += from_cents(cents)
        grant_credit(
            SYSTEM,
            self.account,
            amount_micros=from_cents(cents),
            reason="goodwill",
            idempotency_key=f"machine:{self._next()}",
        )

    # --- Work ------------------------------------------------------------------------------------

    @rule(quantity=st.integers(1, 16))
    def start(self, quantity: int) -> None:
        self._begin(Run(self._next(), 1, quantity, 0, self.now))

    @rule(which=numbers)
    @precondition(lambda self: self._ended())
    def start_again(self, which: int) -> None:
        before = self._one(self._ended(), which)
        number = max(run.attempt for run in self.runs if run.number == before.number) + 1
        if any(run.end is None for run in self.runs if run.number == before.number):
            return
        self._begin(Run(before.number, number, before.quantity, 0, self.now))

    @rule(which=numbers, late=st.integers(0, 3 * 86_400_000_000), is_ours=st.booleans())
    @precondition(lambda self: self._running())
    def stop(self, which: int, late: int, is_ours: bool) -> None:
        """It had ended `late` microseconds before anybody heard of it."""
        run = self._one(self._running(), which)
        run.end = max(run.start, self.now - timedelta(microseconds=late))
        run.is_ours = is_ours
        for _ in range(2):
            close_interval(
                "workload",
                run.number,
                run.attempt,
                ended_at=run.end,
                fault=Fault("node_lost", "A node died") if is_ours else None,
            )

    @rule(unit_micros=st.integers(0, 9_000_000))
    def change_price(self, unit_micros: int) -> None:
        self.now += timedelta(microseconds=1)  # twice in one instant is refused
        set_list_price(
            SYSTEM, CODE, unit_micros=unit_micros, starts_at=self.now, reason="the machine"
        )

    # --- Time ------------------------------------------------------------------------------------

    @rule()
    def tick(self) -> None:
        rate_open_intervals(until=self.now)

    @rule(us=st.integers(1, 3_600_000_000))
    def wait(self, us: int) -> None:
        self.now += timedelta(microseconds=us)

    @rule(hours=st.integers(1, 24 * 20))
    def jump(self, hours: int) -> None:
        self.now += timedelta(hours=hours)

    @rule()
    def close_months(self) -> None:
        close_due_months()
        document_payments()
        for invoice in Invoice.objects.exclude(status=InvoiceStatus.DRAFT):
            assert list(mismatches(invoice)) == []

    # --- What must hold --------------------------------------------------------------------------

    @invariant()
    def books_agree(self) -> None:
        global taken  # noqa: PLW0603  # counts over all machines
        taken += 1
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            cursor.execute("SET CONSTRAINTS ALL DEFERRED")
        assert list(differences()) == []
        assert_books(self.account)

    @invariant()
    def balance_is_the_models(self) -> None:
        used = sum(run.owed(self.now) for run in self.runs)
        assert funds_of(self.account).balance_micros == self._money_in() - used

    @invariant()
    def every_payment_is_credited_once(self) -> None:
        paid = Payment.objects.filter(status=PaymentStatus.SUCCEEDED)
        credits = JournalEntry.objects.filter(kind=EntryKind.TOP_UP)
        assert credits.count() == paid.count() <= len(self.stripe.payments)
        for payment in paid:
            assert payment.refunded_micros <= payment.amount_micros

    def _money_in(self) -> int:
        """What came in and did not go back, by what we know and by nothing of the ledger."""
        total = self.gifts
        for payment in Payment.objects.filter(status=PaymentStatus.SUCCEEDED):
            total += from_cents(self.stripe.payments[payment.payment_intent_id or ""].amount_cents)
            for refund in payment.refunds.exclude(status=RefundStatus.FAILED):
                total -= from_cents(self.stripe.refunds[refund.stripe_refund_id or ""].amount_cents)
        for dispute in Dispute.objects.exclude(status=DisputeStatus.WON):
            assert 0 <= dispute.withheld_micros <= dispute.amount_micros
            total -= dispute.withheld_micros
        return total

    # --- Hands -----------------------------------------------------------------------------------

    def _begin(self, run: Run) -> None:
        price = price_for(self.account, CODE, at=self.now)
        run.unit_micros = price.unit_micros
        resource = Resource("workload", run.number, run.attempt, f"job_{run.number}", "train")
        open_intervals(
            [
                Start(
                    self.account,
                    sku_code=CODE,
                    price=price,
                    resource=resource,
                    quantity=run.quantity,
                    started_at=self.now,
                )
            ]
        )
        self.runs.append(run)

    def _news(self, key: str, *, is_told: bool) -> None:
        if is_told:
            self.stripe.news.append(key)

    def _tell(self, key: str) -> None:
        """What the webhook's handler does: it asks Stripe for the present state."""
        if key in self.stripe.payments:
            settle_payment(self.stripe.payments[key])
            return
        facts = self.stripe.refunds.get(key) or self.stripe.disputes[key]
        if facts.intent_id not in set(
            Payment.objects.filter(status=PaymentStatus.SUCCEEDED).values_list(
                "payment_intent_id", flat=True
            )
        ):
            settle_payment(self.stripe.payments[facts.intent_id or ""])
        if isinstance(facts, RefundFacts):
            settle_refund(facts)
        else:
            settle_dispute(facts)

    def _paid(self) -> list[str]:
        return list(self.stripe.payments)

    def _pending(self) -> list[str]:
        return [k for k, v in self.stripe.refunds.items() if v.status == RefundStatus.PENDING]

    def _open(self) -> list[str]:
        return [k for k, v in self.stripe.disputes.items() if v.status == DisputeStatus.OPEN]

    def _running(self) -> list[Run]:
        return [run for run in self.runs if run.end is None]

    def _ended(self) -> list[Run]:
        return [run for run in self.runs if run.end is not None]

    def _next(self) -> int:
        self.count += 1
        return self.count

    @staticmethod
    def _one(found, which: int):  # type: ignore[no-untyped-def]
        return found[which % len(found)]


@pytest.mark.django_db
def test_books_agree_after_any_history(team: Team, prices: Price) -> None:
    account = ensure_account(team)
    BillingAccount.objects.filter(pk=account.pk).update(created_at=STARTED)
    account.refresh_from_db()
    assert to_cents(funds_of(account).balance_micros) == to_cents(GIVEN)

    class Machine(Money):
        pass

    Machine.account = account
    options = settings(
        max_examples=max(8, min(200, STEPS // 40)),
        stateful_step_count=40,
        deadline=None,
        database=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
    number = 0
    while taken < STEPS:
        number += 1
        run_state_machine_as_test(seed(number)(Machine), settings=options)
    print(f"{taken} steps")
