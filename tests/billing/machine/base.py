"""The state of the machine, its hands, and what is looked at after every step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, TypeVar

import pytest
from django.db import models, transaction
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant

from accounts.actor import Actor
from billing.choices import (
    AccountCode,
    Collection,
    DisputeStatus,
    PaymentStatus,
    RefundStatus,
    TaxPoint,
)
from billing.models import (
    BillingAccount,
    Dispute,
    Invoice,
    JournalEntry,
    Payment,
    Price,
    Refund,
    TaxRate,
)
from billing.queries.books import differences
from billing.queries.funds import funds_of
from portal.lib import clock
from portal.lib.money import MICROS, from_cents
from tests.billing.conftest import Box
from tests.billing.machine.model import Model
from tests.billing.machine.order import LotOrder
from tests.billing.machine.snapshot import snapshot
from tests.billing.machine.statements import Digest, broken, judge_now
from tests.billing.machine.stripe import Stripe

STARTED = datetime(2026, 5, 30, 12, tzinfo=UTC)
SYSTEM = Actor.system("the machine")
CODE = "a100-test"
GIVEN = 50 * MICROS
CREDIT_LIMIT = 100 * MICROS
numbers = st.integers(0, 50)
shares = st.one_of(st.just(100), st.integers(1, 100))
T = TypeVar("T")


class Base(RuleBasedStateMachine):
    """One team's money: the model, the two Stripes, and the books."""

    account: ClassVar[BillingAccount]
    owner: ClassVar[Actor]
    staff: ClassVar[Actor]
    box: ClassVar[Box]
    settings: ClassVar[Any]
    steps: ClassVar[int] = 0
    happened: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.point = transaction.savepoint()
        self.model = Model(STARTED, GIVEN, {})
        self.context = clock.use(lambda: self.model.now)
        self.context.__enter__()
        price = Price.objects.get(sku__code=CODE)
        self.model.prices[price.valid_during.lower] = price.unit_micros
        self.account.refresh_from_db()
        self.stripe = Stripe()
        self.digest = Digest()
        self.order = LotOrder()
        self.count = 0
        self.seen = snapshot()

    def teardown(self) -> None:
        Base.happened.update(JournalEntry.objects.values_list("kind", flat=True))
        purposes = Payment.objects.values_list("purpose", "status")
        Base.happened.update(f"{purpose} {status}" for purpose, status in purposes)
        Base.happened.update(f"{word} refund" for word in _statuses(Refund))
        Base.happened.update(f"{word} dispute" for word in _statuses(Dispute))
        Base.happened.update(f"{word} invoice" for word in _statuses(Invoice))
        self.context.__exit__(None, None, None)
        transaction.savepoint_rollback(self.point)

    def terms(self, tax_ppm: int, point: TaxPoint, *, pays_later: bool) -> None:
        """How this team pays, and what of it is taxed when."""
        self.settings.SELLER_COUNTRY, self.settings.TAX_POINT = "DE", point
        self.model.tax_ppm, self.model.is_use_taxed = tax_ppm, point == TaxPoint.USAGE
        if tax_ppm:
            TaxRate.objects.create(
                country="DE", name="VAT", rate_ppm=tax_ppm, valid_during=(None, None)
            )
        if pays_later:
            self.model.credit_limit = CREDIT_LIMIT
            BillingAccount.objects.filter(pk=self.account.pk).update(
                collection=Collection.POSTPAID, credit_limit_micros=CREDIT_LIMIT
            )
        self.account.refresh_from_db()

    # --- What must hold --------------------------------------------------------------------------

    @invariant()
    def everything_holds(self) -> None:
        """After every step; the table of what is looked at where is in `tests.billing.machine`."""
        Base.steps += 1
        judge_now()
        assert list(differences()) == []
        assert broken() == []
        assert self.digest.changed() == []
        self.order.catch_up(self.account)
        self.seen = snapshot()
        self.usage_is_the_models()
        self.funds_are_the_models()
        self.statuses_are_what_we_were_told()
        self.clearing_is_what_we_were_told()
        self.tax_is_what_documents_say()
        self.automatic_top_up_is_the_models()

    def usage_is_the_models(self) -> None:
        """I7, I8: each interval begins and ends as it really did, and comes to what it costs."""
        found = {row.run: row for row in self.seen.intervals}
        assert found.keys() == {(run.number, run.attempt) for run in self.model.runs}
        for run in self.model.runs:
            row = found[run.number, run.attempt]
            assert (row.start, row.end, row.limit) == (run.start, run.end, run.limit)
            assert row.rated <= run.until(self.model.now)
            assert row.price == run.unit_micros

    def funds_are_the_models(self) -> None:
        """I8, I14, I15: what came in less what went back less what was used, to the micro-unit."""
        funds = funds_of(self.account)
        assert funds.balance_micros == self.balance()
        assert funds.held_micros == self.model.held()
        assert funds.available_micros == self.available()
        assert funds.burn_micros_per_hour == self.model.burn()

    def statuses_are_what_we_were_told(self) -> None:
        """I14, I15."""
        assert self.seen.payments.keys() == self.model.payments.keys()
        for reference, paid in self.model.payments.items():
            is_paid = self.seen.payments[reference] == PaymentStatus.SUCCEEDED
            assert is_paid == paid.is_told <= paid.is_charged
        refunds = {row.id: row for row in self.seen.refunds}
        for key, told in self.stripe.told_refunds().items():
            row = refunds[key]
            assert (row.status, row.net + row.tax) == (told.status, from_cents(told.amount_cents))
        disputes = {row.id: row.status for row in self.seen.disputes}
        assert disputes == {key: one.status for key, one in self.stripe.told_disputes().items()}

    def clearing_is_what_we_were_told(self) -> None:
        """I17: what the ledger has at Stripe is what we know to have moved there."""
        known = sum(one.cents for one in self.model.payments.values() if one.is_told)
        known -= self.stripe.gone_cents() + self.seen.other_fees
        paid_here = [row for row in self.seen.refunds if row.id not in self.stripe.refunds]
        back = sum(row.net + row.tax for row in paid_here if row.status == RefundStatus.SUCCEEDED)
        assert self.house(AccountCode.PSP_CLEARING) == from_cents(known) - back

    def tax_is_what_documents_say(self) -> None:
        """I12: of the tax account, against payments, refunds, invoices and notes."""
        paid = sum(one.tax_cents for one in self.model.payments.values() if one.is_told)
        back = sum(row.tax for row in self.seen.refunds if row.status != RefundStatus.FAILED)
        owed = from_cents(paid) - back + self.model.taxes - self.model.note_taxes
        assert -self.house(AccountCode.TAX_PAYABLE) == owed

    def automatic_top_up_is_the_models(self) -> None:
        """I18: whether it stands still."""
        rule = self.model.auto
        assert [bool(reason) for reason in self.seen.pauses] == (
            [] if rule is None else [rule.paused_at is not None]
        )

    # --- Sums ------------------------------------------------------------------------------------

    def balance(self) -> int:
        """Credit less debt less what is used, by the model and what Stripe has told us."""
        model, seen = self.model, self.seen
        refunded = sum(row.net for row in seen.refunds if row.status != RefundStatus.FAILED)
        withheld = sum(row.withheld for row in seen.disputes if row.status != DisputeStatus.WON)
        return (
            model.gifts + model.bought() + model.notes + model.given_up
            - refunded - withheld - model.used() - model.taxes - model.rounded
        )  # fmt: skip

    def available(self) -> int:
        """What new work may be started with."""
        return self.balance() + self.model.credit_limit - self.model.held()

    def house(self, code: AccountCode) -> int:
        """An account of the house, debit positive."""
        return self.seen.house.get(code.value, 0)

    # --- Hands -----------------------------------------------------------------------------------

    def next(self) -> int:
        """A number nothing else has."""
        self.count += 1
        return self.count

    @staticmethod
    def pick(found: Sequence[T], which: int) -> T:
        """One of them."""
        return found[which % len(found)]

    def forward(self, span: timedelta) -> None:
        """Time passes, or is set back."""
        self.model.now += span


@contextmanager
def refused(*errors: type[Exception]) -> Iterator[None]:
    """What happens inside is refused and changes nothing."""
    with pytest.raises(errors), transaction.atomic():
        yield


def _statuses(model: type[models.Model]) -> list[str]:
    return list(model._default_manager.values_list("status", flat=True))
