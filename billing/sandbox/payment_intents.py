"""PaymentIntents: what becomes of them when they are confirmed, authenticated or canceled."""

from __future__ import annotations

import secrets

from billing.sandbox import balance, disputes, methods
from billing.sandbox.box import Box
from billing.sandbox.cards import AUTHENTICATION, Decline
from billing.sandbox.charges import new_charge
from billing.sandbox.errors import CardRefused
from billing.sandbox.store import Doc, new_id


def new_intent(box: Box, *, amount: int, currency: str, **fields: object) -> Doc:
    """Keep an unpaid PaymentIntent; `amount` is in the currency's smallest unit."""
    intent_id = new_id("pi")
    intent = box.store.add(
        {
            "id": intent_id,
            "object": "payment_intent",
            "amount": amount,
            "amount_capturable": 0,
            "amount_details": {"tip": {}},
            "amount_received": 0,
            "application": None,
            "application_fee_amount": None,
            "automatic_payment_methods": None,
            "canceled_at": None,
            "cancellation_reason": None,
            "capture_method": "automatic_async",
            "client_secret": f"{intent_id}_secret_{secrets.token_hex(12)}",
            "confirmation_method": "automatic",
            "created": box.clock.now(),
            "currency": currency,
            "customer": None,
            "customer_account": None,
            "description": None,
            "excluded_payment_method_types": None,
            "last_payment_error": None,
            "latest_charge": None,
            "livemode": False,
            "metadata": {},
            "managed_payments": {"enabled": False},
            "next_action": None,
            "on_behalf_of": None,
            "payment_method": None,
            "payment_method_configuration_details": None,
            "payment_method_options": {"card": {"request_three_d_secure": "automatic"}},
            "payment_method_types": ["card"],
            "processing": None,
            "receipt_email": None,
            "review": None,
            "setup_future_usage": None,
            "shipping": None,
            "source": None,
            "statement_descriptor": None,
            "statement_descriptor_suffix": None,
            "status": "requires_payment_method",
            "transfer_data": None,
            "transfer_group": None,
        }
        | fields
    )
    box.events.emit("payment_intent.created", intent)
    return intent


def confirm(
    box: Box, intent: Doc, method: Doc, *, off_session: bool = False, return_url: str | None = None
) -> Doc:
    """Charge the card, or ask its owner first where its bank wants that.

    Raises CardRefused when the bank says no, or when it wants its owner and they are away; the
    attempt is kept all the same, so commit before passing the error on.
    """
    found = methods.behaviour(method)
    wants_owner = found.authentication == "always" or (
        found.authentication == "unless_saved"
        and not (off_session and methods.is_saved(box, method))
    )
    if wants_owner and not found.decline:
        if off_session:
            return _failed(box, intent, method, AUTHENTICATION)
        return _ask_owner(box, intent, method, return_url)
    return _carry_out(box, intent, method)


def authenticate(box: Box, intent: Doc, *, is_owner: bool) -> Doc:
    """What the owner answered on the bank's page. The intent stands at `requires_action`."""
    method = box.store.get("payment_method", intent["payment_method"])
    if not is_owner:
        try:
            return _failed(box, intent, method, _NOT_AUTHENTICATED)
        except CardRefused:
            return box.store.get("payment_intent", intent["id"])
    return _carry_out(box, intent | {"next_action": None}, method)


def cancel(box: Box, intent: Doc, reason: str | None) -> Doc:
    """Give an unpaid intent up for `reason`."""
    canceled = box.store.save(
        intent
        | {
            "canceled_at": box.clock.now(),
            "cancellation_reason": reason,
            "next_action": None,
            "status": "canceled",
        }
    )
    box.events.emit("payment_intent.canceled", canceled)
    return canceled


_NOT_AUTHENTICATED = Decline(
    "payment_intent_authentication_failure",
    "",
    "We are unable to authenticate your payment method. Choose another one and try again.",
)


def _ask_owner(box: Box, intent: Doc, method: Doc, return_url: str | None) -> Doc:
    url = f"{box.settings.public_url.rstrip('/')}/c/auth/{intent['id']}"
    waiting = box.store.save(
        intent
        | {
            "last_payment_error": None,
            "next_action": {
                "type": "redirect_to_url",
                "redirect_to_url": {"return_url": return_url, "url": url},
            },
            "payment_method": method["id"],
            "status": "requires_action",
        }
    )
    box.events.emit("payment_intent.requires_action", waiting)
    return waiting


def _carry_out(box: Box, intent: Doc, method: Doc) -> Doc:
    found = methods.behaviour(method)
    decline = found.decline or found.charge_decline
    if decline:
        return _failed(box, intent, method, decline)
    charge = new_charge(box, intent, method, None)
    transaction = balance.record_charge(box, charge)
    charge = box.store.save(charge | {"balance_transaction": transaction["id"]})
    paid = box.store.save(
        intent
        | {
            "amount_received": intent["amount"],
            "last_payment_error": None,
            "latest_charge": charge["id"],
            "next_action": None,
            "payment_method": method["id"],
            "status": "succeeded",
        }
    )
    box.events.emit("charge.succeeded", charge)
    box.events.emit("payment_intent.succeeded", paid)
    _keep_or_spend(box, paid, method)
    if found.dispute:
        disputes.open_dispute(box, charge, found.dispute)
    return paid


def _keep_or_spend(box: Box, intent: Doc, method: Doc) -> None:
    if intent["setup_future_usage"] and intent["customer"]:
        methods.mark_saved(box, methods.attach_to(box, method, intent["customer"]))
    elif method["customer"] is None:
        methods.mark_spent(box, method)


def _failed(box: Box, intent: Doc, method: Doc, decline: Decline) -> Doc:
    charge = new_charge(box, intent, method, decline)
    error = CardRefused(
        decline.message,
        code=decline.code,
        decline_code=decline.decline_code,
        param="cvc" if decline.code == "incorrect_cvc" else "",
    )
    details = error.body()["error"] | {"charge": charge["id"], "payment_method": method}
    failed = box.store.save(
        intent
        | {
            "last_payment_error": details,
            "latest_charge": charge["id"],
            "next_action": None,
            "payment_method": None,
            "status": "requires_payment_method",
        }
    )
    box.events.emit("charge.failed", charge)
    box.events.emit("payment_intent.payment_failed", failed)
    error.extra |= {
        "charge": charge["id"],
        "payment_intent": failed,
        "payment_method": method,
    }
    raise error
