"""What should be: sums that know nothing of the ledger."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from portal.lib.money import cost_micros, duration_us, from_cents

GRACE = timedelta(seconds=120)


@dataclass
class Run:
    """A run as it really was.

    Nothing is charged past `limit`, the last proof of life and the grace; `rated` is how far ticks
    have come.
    """

    number: int
    attempt: int
    quantity: int
    unit_micros: int
    start: datetime
    rated: datetime
    limit: datetime | None = None
    end: datetime | None = None
    is_ours: bool = False

    def until(self, now: datetime) -> datetime:
        """Up to when it is charged: a clock that steps back takes nothing back."""
        return self.end or max(self.rated, self._within(now))

    def owed(self, now: datetime) -> int:
        """What it has come to, or would have without our fault."""
        return 0 if self.is_ours else self._cost(self.until(now))

    def unseen(self, now: datetime) -> int:
        """What it will have come to beyond that once it is seen."""
        return self._cost(max(self.rated, now)) - self._cost(self.until(now))

    def accrued(self, now: datetime) -> int:
        """What of its hold it has used up."""
        return self._cost(self._within(min(now, self.end or now)))

    def tick(self, now: datetime) -> None:
        """Its cost up to `now` is posted."""
        if self.end is None:
            self.rated = max(self.rated, self._within(now))

    def prove(self, at: datetime) -> None:
        """It was seen at `at`."""
        if self.end is None and self.limit is not None:
            self.limit = max(self.limit, at + GRACE)

    def stop(self, at: datetime, *, is_proven: bool, is_ours: bool) -> None:
        """It ended at `at`, or that is what somebody says who was not there."""
        if self.limit is not None and is_proven:
            self.limit = max(self.limit, at)
        self.end = max(self.start, self._within(at))
        self.is_ours = is_ours

    def _within(self, at: datetime) -> datetime:
        return at if self.limit is None else min(at, self.limit)

    def _cost(self, until: datetime) -> int:
        return cost_micros(self.unit_micros, self.quantity, duration_us(self.start, until))


@dataclass
class Paid:
    """A payment as we asked for it. `is_charged`: Stripe has the money, whether we know or not."""

    reference: str
    net_cents: int
    tax_cents: int
    created_at: datetime
    is_charged: bool
    is_automatic: bool = False
    is_told: bool = False
    is_given_up: bool = False
    intent_id: str = ""

    @property
    def cents(self) -> int:
        """What the card paid."""
        return self.net_cents + self.tax_cents


@dataclass
class AutoRule:
    """Automatic top-up as the owner set it, in cents."""

    threshold: int
    amount: int
    maximum: int
    paused_at: datetime | None = None
    is_at_maximum: bool = False


@dataclass
class Model:
    """One team's money, micro-units where not said otherwise."""

    now: datetime
    gifts: int
    prices: dict[datetime, int]
    credit_limit: int = 0
    tax_ppm: int = 0
    is_use_taxed: bool = False
    runs: list[Run] = field(default_factory=list)
    holds: dict[int, int] = field(default_factory=dict)
    payments: dict[str, Paid] = field(default_factory=dict)
    # What the month closes and staff have done, by the documents: tax and rounding taken, debt
    # given up, invoices taken back.
    taxes: int = 0
    rounded: int = 0
    given_up: int = 0
    notes: int = 0
    note_taxes: int = 0
    auto: AutoRule | None = None

    def price_at(self, at: datetime) -> int:
        """The list price at `at`."""
        return self.prices[max(start for start in self.prices if start <= at)]

    def used(self) -> int:
        """What all runs have come to."""
        return sum(run.owed(self.now) for run in self.runs)

    def unseen(self) -> int:
        """What runs that nobody has seen lately will have come to once they are seen."""
        return sum(run.unseen(self.now) for run in self.running())

    def bought(self) -> int:
        """Credit of the payments we know to be paid."""
        return from_cents(sum(paid.net_cents for paid in self.payments.values() if paid.is_told))

    def held(self) -> int:
        """What is set aside beyond what was used of it."""
        return sum(
            max(0, amount - sum(r.accrued(self.now) for r in self.runs if r.number == number))
            for number, amount in self.holds.items()
        )

    def burn(self) -> int:
        """An hour of all that runs."""
        return sum(run.unit_micros * run.quantity for run in self.running())

    def running(self) -> list[Run]:
        """Runs nobody has ended."""
        return [run for run in self.runs if run.end is None]

    def ended(self) -> list[Run]:
        """Runs that have ended."""
        return [run for run in self.runs if run.end is not None]

    def tick(self) -> None:
        """Everything is posted up to now."""
        for run in self.runs:
            run.tick(self.now)

    def credit_tax(self, net_cents: int) -> int:
        """Cents of tax on credit that is bought."""
        if self.is_use_taxed:
            return 0
        return (net_cents * self.tax_ppm * 2 + 1_000_000) // 2_000_000

    def may_charge(self, available: int) -> Paid | None:
        """The automatic charge that is due now, if one is, by the rules told to its owner.

        One at a time, one an hour, and in a month no more than the maximum, taxes included.
        """
        rule = self.auto
        autos = [paid for paid in self.payments.values() if paid.is_automatic]
        if (
            rule is None
            or self.credit_limit
            or rule.paused_at is not None
            or available >= from_cents(rule.threshold)
            or any(paid.created_at > self.now - timedelta(hours=1) for paid in autos)
            or any(not paid.is_told and not paid.is_given_up for paid in autos)
        ):
            return None
        gap = -(-(from_cents(rule.threshold) - available) // from_cents(1))
        net = min(max(rule.amount, gap), 5_000_00)
        return Paid("", net, self.credit_tax(net), self.now, False, is_automatic=True)

    def charged_this_month(self) -> int:
        """Cents of automatic payments we know of, since the month began."""
        month = self.now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        return sum(
            paid.cents
            for paid in self.payments.values()
            if paid.is_automatic and paid.is_told and paid.created_at >= month
        )
