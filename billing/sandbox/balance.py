"""What the business has at Stripe: one transaction per movement, less fees."""

from __future__ import annotations

from collections import defaultdict

from billing.sandbox import money
from billing.sandbox.box import Box
from billing.sandbox.forms import Params
from billing.sandbox.reading import expand, fetch
from billing.sandbox.store import Doc, new_id

_SETTLES_AFTER_S = 2 * 24 * 3600
_DISPUTE_FEE = 1500


def record_charge(box: Box, charge: Doc) -> Doc:
    """The money of a charge, pending for two days, less Stripe's fee."""
    fee = money.fee(charge["amount"])
    details = {
        "amount": fee,
        "application": None,
        "currency": charge["currency"],
        "description": "Stripe processing fees",
        "type": "stripe_fee",
    }
    available_on = box.clock.now() + _SETTLES_AFTER_S
    return _record(box, charge, "charge", charge["amount"], [details], available_on)


def record_refund(box: Box, refund: Doc, *, available_on: int) -> Doc:
    """The money of a refund, out of the account; fees stay with Stripe.

    `available_on` (Unix seconds) is the charge's: a refund leaves the same pot.
    """
    return _record(box, refund, "refund", -refund["amount"], [], available_on)


def record_refund_failure(box: Box, refund: Doc, *, available_on: int) -> Doc:
    """The money of a refund that the bank sent back."""
    return _record(box, refund, "refund_failure", refund["amount"], [], available_on)


def record_dispute(box: Box, dispute: Doc) -> Doc:
    """The money of a dispute, taken at once with Stripe's fee for it."""
    details = {
        "amount": _DISPUTE_FEE,
        "application": None,
        "currency": dispute["currency"],
        "description": "Dispute fee",
        "type": "stripe_fee",
    }
    return _record(
        box, dispute, "adjustment", -dispute["amount"], [details], box.clock.now(), "dispute"
    )


def record_dispute_won(box: Box, dispute: Doc) -> Doc:
    """The money of a dispute that was won; the fee stays with Stripe."""
    return _record(
        box, dispute, "adjustment", dispute["amount"], [], box.clock.now(), "dispute_reversal"
    )


def record_payout(box: Box, payout: Doc) -> Doc:
    """The money of a payout, gone to the bank."""
    return _record(box, payout, "payout", -payout["amount"], [], box.clock.now())


def available(box: Box) -> dict[str, int]:
    """What can be paid out now, by currency."""
    sums: dict[str, int] = defaultdict(int)
    for transaction in box.store.all_of("balance_transaction"):
        if as_of_now(box, transaction)["status"] == "available":
            sums[transaction["currency"]] += transaction["net"]
    return sums


def _record(
    box: Box,
    source: Doc,
    kind: str,
    amount: int,
    fees: list[Doc],
    available_on: int,
    category: str = "",
) -> Doc:
    fee = sum(detail["amount"] for detail in fees)
    return box.store.add(
        {
            "id": new_id("txn"),
            "object": "balance_transaction",
            "amount": amount,
            "available_on": available_on,
            "balance_type": "payments",
            "created": box.clock.now(),
            "currency": source["currency"],
            "description": source.get("description"),
            "exchange_rate": None,
            "fee": fee,
            "fee_details": fees,
            "net": amount - fee,
            "reporting_category": category or kind,
            "source": source["id"],
            "status": "pending",
            "type": kind,
        }
    )


def as_of_now(box: Box, transaction: Doc) -> Doc:
    """The transaction with its status as the clock has it."""
    due = transaction["available_on"] <= box.clock.now()
    return transaction | {"status": "available" if due else "pending"}


def retrieve_transaction(box: Box, params: Params, transaction_id: str) -> Doc:
    """GET /v1/balance_transactions/{id}"""
    paths = params.texts("expand")
    params.finish()
    found = fetch(box, "balance_transaction", transaction_id)
    return expand(box, as_of_now(box, found), paths)


def retrieve(box: Box, params: Params, _: str) -> Doc:
    """GET /v1/balance: the sum of the transactions, by currency."""
    params.finish()
    sums: dict[str, dict[str, int]] = {"available": defaultdict(int), "pending": defaultdict(int)}
    for transaction in box.store.all_of("balance_transaction"):
        status = as_of_now(box, transaction)["status"]
        sums[status][transaction["currency"]] += transaction["net"]
    currencies = sorted({*sums["available"], *sums["pending"]}) or ["usd"]
    return {"object": "balance", "livemode": False} | {
        status: [
            {
                "amount": by_currency[currency],
                "currency": currency,
                "source_types": {"card": by_currency[currency]},
            }
            for currency in currencies
        ]
        for status, by_currency in sums.items()
    }
