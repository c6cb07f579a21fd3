"""Refunds: all or part of a charge back to its card, never more than is left of it."""

from __future__ import annotations

from billing.sandbox import balance, money
from billing.sandbox.box import Box
from billing.sandbox.cards import behaviour_of
from billing.sandbox.errors import InvalidRequest
from billing.sandbox.forms import Params
from billing.sandbox.reading import expand, fetch
from billing.sandbox.store import Doc, Query, new_id

_REASONS = {"duplicate", "fraudulent", "requested_by_customer"}
# What a refund that settles late waits for, by the virtual clock.
_LATER_S = 3600


def create(box: Box, params: Params, _: str) -> Doc:
    """POST /v1/refunds"""
    charge = _charge(box, params)
    amount = params.integer("amount", minimum=1, maximum=money.MAX_AMOUNT)
    reason = params.choice("reason", _REASONS)
    metadata = params.metadata()
    paths = params.texts("expand")
    params.finish()
    left = charge["amount"] - charge["amount_refunded"]
    if left == 0:
        raise InvalidRequest(
            f"Charge {charge['id']} has already been refunded.", code="charge_already_refunded"
        )
    if amount is not None and amount > left:
        asked, rest = (money.display(value, charge["currency"]) for value in (amount, left))
        raise InvalidRequest(
            f"Refund amount ({asked}) is greater than unrefunded amount on charge ({rest})",
            param="amount",
        )
    return expand(box, _refund(box, charge, amount or left, reason, metadata), paths)


def _charge(box: Box, params: Params) -> Doc:
    intent_id, charge_id = params.text("payment_intent"), params.text("charge")
    if bool(intent_id) == bool(charge_id):
        raise InvalidRequest("Name either a payment_intent or a charge.", param="payment_intent")
    if intent_id:
        intent = fetch(box, "payment_intent", intent_id, param="payment_intent")
        charge_id = intent["latest_charge"] or ""
    charge = box.store.find("charge", charge_id) if charge_id else None
    if charge_id and charge is None:
        fetch(box, "charge", charge_id, param="charge")
    if charge is None or charge["status"] != "succeeded":
        raise InvalidRequest("There is no successful charge to refund.", code="resource_missing")
    if charge["disputed"] and _is_taken_back(box, charge):
        raise InvalidRequest(
            f"Charge {charge['id']} has been charged back; cannot issue a refund.",
            code="charge_disputed",
        )
    return charge


def _is_taken_back(box: Box, charge: Doc) -> bool:
    found, _ = box.store.page("dispute", Query(equal={"charge": charge["id"]}, limit=1))
    return bool(found) and not found[0]["is_charge_refundable"]


def settle_due(box: Box) -> None:
    """Settle the refunds whose time has come; call it in a transaction."""
    for note in due(box):
        box.store.save(note | {"is_done": True})
        refund = box.store.get("refund", note["refund"])
        if note["outcome"] == "fails_later":
            _fail(box, refund)
        else:
            changed = box.store.save(refund | {"status": "succeeded"})
            box.events.emit("refund.updated", changed, {"status": refund["status"]})


def due(box: Box) -> list[Doc]:
    """What `settle_due` would settle now."""
    now = box.clock.now()
    waiting = box.store.all_of("refund_due")
    return [note for note in waiting if not note["is_done"] and note["at"] <= now]


def _fail(box: Box, refund: Doc) -> None:
    charge = box.store.get("charge", refund["charge"])
    back = balance.record_refund_failure(box, refund, available_on=box.clock.now())
    failed = box.store.save(
        refund
        | {
            "failure_balance_transaction": back["id"],
            "failure_reason": "unknown",
            "status": "failed",
        }
    )
    changed = box.store.save(
        charge
        | {"amount_refunded": charge["amount_refunded"] - refund["amount"], "refunded": False}
    )
    previous = {"status": refund["status"]}
    box.events.emit("refund.updated", failed, previous)
    box.events.emit("refund.failed", failed)
    box.events.emit("charge.refund.updated", failed, previous)
    box.events.emit("charge.updated", changed)


def _refund(
    box: Box, charge: Doc, amount: int, reason: str | None, metadata: dict[str, str]
) -> Doc:
    outcome = behaviour_of(charge["payment_method_details"]["card"]["fingerprint"]).refund
    refund = box.store.add(
        {
            "id": new_id("re"),
            "object": "refund",
            "amount": amount,
            "balance_transaction": None,
            "charge": charge["id"],
            "created": box.clock.now(),
            "currency": charge["currency"],
            "customer": charge["customer"],
            "customer_account": None,
            "destination_details": {
                "card": {
                    "reference_status": "pending",
                    "reference_type": "acquirer_reference_number",
                    "type": "refund",
                },
                "type": "card",
            },
            "metadata": metadata,
            "payment_intent": charge["payment_intent"],
            "payment_method": charge["payment_method"],
            "reason": reason,
            "receipt_number": None,
            "source_transfer_reversal": None,
            "status": "pending" if outcome == "pending" else "succeeded",
            "transfer_reversal": None,
        }
    )
    paid_in = box.store.get("balance_transaction", charge["balance_transaction"])
    available_on = max(paid_in["available_on"], box.clock.now())
    moved = balance.record_refund(box, refund, available_on=available_on)
    refund = box.store.save(refund | {"balance_transaction": moved["id"]})
    total = charge["amount_refunded"] + amount
    changed = box.store.save(
        charge | {"amount_refunded": total, "refunded": total == charge["amount"]}
    )
    if outcome:
        box.store.add(
            {
                "id": f"due_{refund['id']}",
                "object": "refund_due",
                "at": box.clock.now() + _LATER_S,
                "created": box.clock.now(),
                "is_done": False,
                "outcome": outcome,
                "refund": refund["id"],
            }
        )
    box.events.emit("refund.created", refund)
    previous = {name: charge[name] for name in ("amount_refunded", "refunded")}
    box.events.emit("charge.refunded", changed, previous)
    return refund
