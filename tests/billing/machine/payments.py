"""Rules of money that comes and goes at a Stripe of dictionaries: news is late, twice or never."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from billing.actions.credit import grant_credit
from billing.actions.disputes import settle_dispute
from billing.actions.payments import new_payment, settle_payment
from billing.actions.psp_sync import keep_movements
from billing.actions.refunds import settle_refund
from billing.choices import AccountCode, DisputeStatus, PaymentPurpose, RefundStatus, TaxPoint
from billing.gateways.refunds import RefundFacts
from billing.models import Payment
from portal.lib.errors import Conflict, NotFound
from portal.lib.money import from_cents
from tests.billing.machine.base import SYSTEM, Base, numbers, refused, shares
from tests.billing.machine.model import Paid
from tests.billing.machine.snapshot import snapshot

# Recovery looks for payments at the sandbox, which knows nothing of these.
NOT_DUE = timedelta(days=3650)


# When we are told of it: at once, later and in any order, or not before we ask.
news = st.sampled_from(["now", "now", "later", "never"])


class PaymentRules(Base):
    """Top-ups, refunds, disputes, payouts, and what is told of them."""

    @initialize(
        tax_ppm=st.sampled_from([0, 190_000, 81_250]),
        point=st.sampled_from(TaxPoint),
        pays_later=st.sampled_from([False, False, True]),
        cents=st.one_of(st.just(0), st.integers(5_00, 500_00)),
    )
    def begin(self, tax_ppm: int, point: TaxPoint, pays_later: bool, cents: int) -> None:
        self.terms(tax_ppm, point, pays_later=pays_later)
        if cents:
            self.pay(cents, "now")

    @rule(cents=st.integers(5_00, 500_00), told=news)
    def pay(self, cents: int, told: str) -> None:
        model = self.model
        paid = Paid("", cents, model.credit_tax(cents), model.now, is_charged=True)
        payment = new_payment(
            self.account,
            purpose=PaymentPurpose.TOP_UP,
            net_cents=cents,
            tax_cents=paid.tax_cents,
        )
        Payment.objects.filter(pk=payment.pk).update(looked_at=model.now + NOT_DUE)
        paid.reference = payment.public_id
        paid.intent_id = self.stripe.pay(paid.reference, paid.cents, model.now)
        model.payments[paid.reference] = paid
        self._news(paid.intent_id, told)

    @rule(which=numbers, share=shares, told=news)
    @precondition(lambda self: self.stripe.payments)
    def refund_at_stripe(self, which: int, share: int, told: str) -> None:
        intent = self.pick(list(self.stripe.payments), which)
        cents = self.stripe.left_of(intent) * share // 100
        if cents:
            self._news(self.stripe.refund(intent, cents, self.model.now), told)

    @rule(which=numbers, is_paid=st.booleans(), told=news)
    @precondition(lambda self: self.stripe.refunds_to_come())
    def refund_goes_on(self, which: int, is_paid: bool, told: str) -> None:
        """The card's bank takes the money or not, or sends it back days after it took it."""
        key = self.pick(self.stripe.refunds_to_come(), which)
        self.stripe.end_refund(key, is_paid=is_paid, at=self.model.now)
        self._news(key, told)

    @rule(which=numbers, takes_money=st.booleans(), told=news)
    @precondition(lambda self: self.stripe.payments)
    def dispute(self, which: int, takes_money: bool, told: str) -> None:
        intent = self.pick(list(self.stripe.payments), which)
        left = self.stripe.left_of(intent)
        if left:
            now = self.model.now
            key = self.stripe.dispute(intent, left, takes_money=takes_money, at=now)
            self._news(key, told)

    @rule(which=numbers, is_won=st.booleans(), told=news)
    @precondition(lambda self: self.stripe.disputes_to_come())
    def dispute_goes_on(self, which: int, is_won: bool, told: str) -> None:
        """An inquiry becomes a dispute, a dispute is judged."""
        key = self.pick(self.stripe.disputes_to_come(), which)
        if self.stripe.disputes[key].status == DisputeStatus.INQUIRY:
            self.stripe.escalate(key, self.model.now)
        else:
            self.stripe.end_dispute(key, is_won=is_won, at=self.model.now)
        self._news(key, told)

    @rule(which=numbers, goes_out=st.booleans(), times=st.integers(0, 2))
    def bank(self, which: int, goes_out: bool, times: int) -> None:
        """A payout leaves or comes back, and the balance's movements are read, so often."""
        if goes_out:
            self.stripe.pay_out(self.model.now)
        elif self.stripe.payouts:
            self.stripe.payout_fails(self.pick(self.stripe.payouts, which), self.model.now)
        for _ in range(times):
            self._read_movements()

    @rule(which=numbers, times=st.integers(0, 3))
    @precondition(lambda self: self.stripe.news)
    def deliver(self, which: int, times: int) -> None:
        """Any piece of news, in any order, so often; 0: never."""
        key = self.stripe.news.pop(which % len(self.stripe.news))
        for _ in range(times):
            self.tell(key)

    @rule()
    def reconcile(self) -> None:
        """Everything is read at Stripe, whatever was told: then the balances are one (I17)."""
        for key in [*self.stripe.payments, *self.stripe.refunds, *self.stripe.disputes]:
            self.tell(key)
        self._read_movements()
        self.read_the_sandbox()
        pending = self.stripe.refunds_in(RefundStatus.PENDING)
        on_their_way = sum(self.stripe.refunds[key].amount_cents for key in pending)
        self.seen = snapshot()
        there = self.stripe.balance_cents() + self.sandbox_balance_cents()
        assert self.house(AccountCode.PSP_CLEARING) == from_cents(there + on_their_way)

    @rule(cents=st.integers(1, 20_00), again=st.integers(1, 3))
    def give(self, cents: int, again: int) -> None:
        """The same gift, asked for twice, is given once; another under its key is refused (I4)."""
        key = f"machine:{self.next()}"
        self.model.gifts += from_cents(cents)

        def grant(amount_micros: int) -> int:
            entry = grant_credit(
                SYSTEM,
                self.account,
                amount_micros=amount_micros,
                reason="goodwill",
                idempotency_key=key,
            )
            return entry.pk

        assert len({grant(from_cents(cents)) for _ in range(again)}) == 1
        with refused(Conflict):
            grant(from_cents(cents) + 1)

    def read_the_sandbox(self) -> None:
        """Of payments and refunds made there; see `cards`."""

    def sandbox_balance_cents(self) -> int:
        """What is in this team's name at the sandbox."""
        return 0

    def tell(self, key: str) -> None:
        """What the webhook's handler does: it asks Stripe for the present state."""
        if key in self.stripe.payments:
            self._tell_payment(key)
            return
        facts = self.stripe.refunds.get(key) or self.stripe.disputes[key]
        intent = facts.intent_id or ""
        settle = settle_refund if isinstance(facts, RefundFacts) else settle_dispute
        if intent not in self.stripe.told:
            with refused(NotFound):
                settle(facts)  # type: ignore[arg-type]
            self._tell_payment(intent)
        if self.stripe.is_too_early(key):
            with refused(Conflict):
                settle(facts)  # type: ignore[arg-type]
            self.stripe.news.append(key)
            return
        settle(facts)  # type: ignore[arg-type]
        self.stripe.told[key] = facts

    def _tell_payment(self, key: str) -> None:
        facts = self.stripe.payments[key]
        settle_payment(facts)
        self.stripe.told[key] = facts
        self.model.payments[facts.reference].is_told = True

    def _news(self, key: str, told: str) -> None:
        if told == "now":
            self.tell(key)
        elif told == "later":
            self.stripe.news.append(key)

    def _read_movements(self) -> None:
        """Newest first, from before what was read last."""
        new = len(self.stripe.movements) - self.stripe.read
        seen = self.stripe.movements[-new - 3 :]
        assert keep_movements(list(reversed(seen))) == new
        self.stripe.read += new
