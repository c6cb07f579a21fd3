"""A Stripe that is a few dictionaries: what happened there, and what we have been told of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime

from billing.choices import DisputeStatus, PaymentStatus, RefundStatus
from billing.gateways.facts import PaymentFacts
from billing.gateways.records import DisputeFacts, Movement
from billing.gateways.refunds import RefundFacts

DISPUTE_FEE = 15_00


@dataclass
class Stripe:
    """Objects as they are, `told` as we last heard of them, `news` that is on its way.

    `movements` are those of the balance; we have read the first `read` of them.
    """

    payments: dict[str, PaymentFacts] = field(default_factory=dict)
    refunds: dict[str, RefundFacts] = field(default_factory=dict)
    disputes: dict[str, DisputeFacts] = field(default_factory=dict)
    told: dict[str, PaymentFacts | RefundFacts | DisputeFacts] = field(default_factory=dict)
    news: list[str] = field(default_factory=list)
    movements: list[Movement] = field(default_factory=list)
    read: int = 0
    payouts: list[str] = field(default_factory=list)

    def pay(self, reference: str, cents: int, at: datetime) -> str:
        """The page was paid."""
        key = f"pi_{reference}"
        self.payments[key] = PaymentFacts(
            reference=reference,
            status=PaymentStatus.SUCCEEDED,
            amount_cents=cents,
            currency="usd",
            intent_id=key,
        )
        self._move("charge", key, cents, cents * 29 // 1000 + 30, at)
        return key

    def refund(self, intent_id: str, cents: int, at: datetime) -> str:
        """Somebody refunds in the dashboard: the money leaves at once, the rest takes its time."""
        key = f"re_{len(self.refunds)}_{intent_id}"
        self.refunds[key] = RefundFacts(
            id=key,
            reference="",
            intent_id=intent_id,
            amount_cents=cents,
            currency="usd",
            status=RefundStatus.PENDING,
            failure="",
        )
        self._move("refund", key, -cents, 0, at)
        return key

    def end_refund(self, key: str, *, is_paid: bool, at: datetime) -> None:
        """The card's bank has taken the money, or has sent it back: then even days later."""
        status = RefundStatus.SUCCEEDED if is_paid else RefundStatus.FAILED
        if is_paid and self.refunds[key].status == status:
            return
        self.refunds[key] = replace(self.refunds[key], status=status)
        if not is_paid:
            self._move("refund_failure", key, self.refunds[key].amount_cents, 0, at)

    def dispute(self, intent_id: str, cents: int, *, takes_money: bool, at: datetime) -> str:
        """A bank asks, or takes the money back at once."""
        key = f"dp_{len(self.disputes)}_{intent_id}"
        self.disputes[key] = DisputeFacts(
            id=key,
            intent_id=intent_id,
            amount_cents=cents,
            currency="usd",
            status=DisputeStatus.INQUIRY,
            reason="fraudulent",
            took_money=False,
        )
        if takes_money:
            self.escalate(key, at)
        return key

    def escalate(self, key: str, at: datetime) -> None:
        """The inquiry becomes a dispute that takes the money."""
        found = self.disputes[key]
        self.disputes[key] = replace(found, status=DisputeStatus.OPEN, took_money=True)
        self._move("adjustment", key, -found.amount_cents, DISPUTE_FEE, at)

    def end_dispute(self, key: str, *, is_won: bool, at: datetime) -> None:
        """The bank has judged."""
        found = self.disputes[key]
        status = DisputeStatus.WON if is_won else DisputeStatus.LOST
        self.disputes[key] = replace(found, status=status)
        if is_won:
            self._move("adjustment", key, found.amount_cents, 0, at)

    def pay_out(self, at: datetime) -> None:
        """What is there goes to the bank."""
        cents = self.balance_cents()
        if cents > 0:
            self.payouts.append(f"po_{at.timestamp()}_{len(self.movements)}")
            self._move("payout", self.payouts[-1], -cents, 0, at)

    def payout_fails(self, key: str, at: datetime) -> None:
        """The bank sends a payout back."""
        self.payouts.remove(key)
        sent = next(one for one in self.movements if one.source == key)
        self._move("payout_failure", key, -sent.amount_cents, 0, at)

    def balance_cents(self) -> int:
        """What we have there."""
        return sum(movement.net_cents for movement in self.movements)

    def left_of(self, intent_id: str) -> int:
        """Cents of a payment that have not gone back and are not disputed."""
        refunds = [one for one in self.refunds.values() if one.status != RefundStatus.FAILED]
        disputes = [one for one in self.disputes.values() if one.status != DisputeStatus.WON]
        both: list[RefundFacts | DisputeFacts] = [*refunds, *disputes]
        gone = sum(one.amount_cents for one in both if one.intent_id == intent_id)
        return self.payments[intent_id].amount_cents - gone

    def refunds_in(self, status: RefundStatus) -> list[str]:
        """Refunds that stand there."""
        return [key for key, one in self.refunds.items() if one.status == status]

    def is_too_early(self, key: str) -> bool:
        """Whether a refund is news to us that has no room yet: one that failed is still to come."""
        found = self.refunds.get(key)
        if found is None or key in self.told:
            return False
        told = self.told_refunds().values()
        gone = sum(
            one.amount_cents
            for one in told
            if one.intent_id == found.intent_id and one.status != RefundStatus.FAILED
        )
        return gone + found.amount_cents > self.payments[found.intent_id or ""].amount_cents

    def refunds_to_come(self) -> list[str]:
        """Refunds that may still change."""
        return [key for key, one in self.refunds.items() if one.status != RefundStatus.FAILED]

    def disputes_to_come(self) -> list[str]:
        """Disputes that are not judged."""
        judged = {DisputeStatus.WON, DisputeStatus.LOST}
        return [key for key, one in self.disputes.items() if one.status not in judged]

    def told_refunds(self) -> dict[str, RefundFacts]:
        """Refunds we have heard of, as they were then."""
        return {key: one for key, one in self.told.items() if isinstance(one, RefundFacts)}

    def told_disputes(self) -> dict[str, DisputeFacts]:
        """Disputes we have heard of, as they were then."""
        return {key: one for key, one in self.told.items() if isinstance(one, DisputeFacts)}

    def gone_cents(self) -> int:
        """What of the payments is no more there, by what we have been told and have read."""
        refunds, disputes = self.told_refunds().values(), self.told_disputes().values()
        back = sum(one.amount_cents for one in refunds if one.status == RefundStatus.SUCCEEDED)
        taken = sum(
            one.amount_cents
            for one in disputes
            if one.took_money and one.status != DisputeStatus.WON
        )
        read = self.movements[: self.read]
        fees = sum(movement.fee_cents for movement in read)
        out = sum(one.amount_cents for one in read if one.type.startswith("payout"))
        return back + taken + fees - out

    def _move(self, kind: str, source: str, cents: int, fee: int, at: datetime) -> None:
        self.movements.append(
            Movement(
                id=f"txn_{len(self.movements)}_{source}",
                type=kind,
                source=source,
                amount_cents=cents,
                fee_cents=fee,
                net_cents=cents - fee,
                currency="usd",
                created_at=at,
            )
        )
