"""Payouts: what is available goes to the bank."""

from __future__ import annotations

from billing.sandbox import balance
from billing.sandbox.box import Box
from billing.sandbox.forms import Params
from billing.sandbox.store import Doc, new_id

_ARRIVES_AFTER_S = 2 * 24 * 3600


def pay_out(box: Box, params: Params, _: str) -> Doc:
    """POST /_sandbox/payout: what Stripe does by itself each day, at once."""
    params.finish()
    paid = [
        _payout(box, currency, amount)
        for currency, amount in sorted(balance.available(box).items())
        if amount > 0
    ]
    return {"object": "list", "data": paid, "has_more": False, "url": "/v1/payouts"}


def _payout(box: Box, currency: str, amount: int) -> Doc:
    payout = box.store.add(
        {
            "id": new_id("po"),
            "object": "payout",
            "amount": amount,
            "application_fee": None,
            "application_fee_amount": None,
            "arrival_date": box.clock.now() + _ARRIVES_AFTER_S,
            "automatic": True,
            "balance_transaction": None,
            "created": box.clock.now(),
            "currency": currency,
            "description": "STRIPE PAYOUT",
            "destination": None,
            "failure_balance_transaction": None,
            "failure_code": None,
            "failure_message": None,
            "livemode": False,
            "metadata": {},
            "method": "standard",
            "original_payout": None,
            "payout_method": None,
            "reconciliation_status": "completed",
            "reversed_by": None,
            "source_type": "card",
            "statement_descriptor": None,
            "status": "paid",
            "trace_id": None,
            "type": "bank_account",
        }
    )
    moved = balance.record_payout(box, payout)
    payout = box.store.save(payout | {"balance_transaction": moved["id"]})
    box.events.emit("payout.created", payout)
    box.events.emit("payout.paid", payout)
    return payout
