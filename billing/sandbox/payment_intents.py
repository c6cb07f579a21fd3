"""PaymentIntents, and the payment methods and charges that carry them out."""

from __future__ import annotations

import secrets

from billing.sandbox import balance
from billing.sandbox.box import Box
from billing.sandbox.cards import Card, Decline
from billing.sandbox.errors import CardRefused
from billing.sandbox.store import Doc, new_id

_NO_ADDRESS = dict.fromkeys(("city", "country", "line1", "line2", "postal_code", "state"))


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


def new_method(box: Box, card: Card, *, name: str, email: str, customer: str | None) -> Doc:
    """Keep a card as a PaymentMethod."""
    return box.store.add(
        {
            "id": new_id("pm"),
            "object": "payment_method",
            "allow_redisplay": "limited",
            "billing_details": _billing(name, email),
            "card": _card_facts(card)
            | {
                "display_brand": card.brand,
                "generated_from": None,
                "networks": {"available": [card.brand], "preferred": None},
                "three_d_secure_usage": {"supported": True},
            },
            "created": box.clock.now(),
            "customer": customer,
            "customer_account": None,
            "livemode": False,
            "metadata": {},
            "type": "card",
        }
    )


def confirm(box: Box, intent: Doc, method: Doc, card: Card) -> Doc:
    """Charge the card. Raises CardRefused when its bank says no; the attempt is kept all the same,
    so commit before passing the error on."""
    charge = _charge(box, intent, method, card)
    if card.decline:
        return _failed(box, intent, method, charge, card.decline)
    transaction = balance.record_charge(box, charge)
    charge = box.store.save(charge | {"balance_transaction": transaction["id"]})
    paid = box.store.save(
        intent
        | {
            "amount_received": intent["amount"],
            "last_payment_error": None,
            "latest_charge": charge["id"],
            "payment_method": method["id"],
            "status": "succeeded",
        }
    )
    box.events.emit("charge.succeeded", charge)
    box.events.emit("payment_intent.succeeded", paid)
    return paid


def cancel(box: Box, intent: Doc, reason: str) -> Doc:
    """Give an unpaid intent up for `reason`."""
    canceled = box.store.save(
        intent
        | {
            "canceled_at": box.clock.now(),
            "cancellation_reason": reason,
            "status": "canceled",
        }
    )
    box.events.emit("payment_intent.canceled", canceled)
    return canceled


def _failed(box: Box, intent: Doc, method: Doc, charge: Doc, decline: Decline) -> Doc:
    error = CardRefused(
        decline.message,
        code=decline.code,
        decline_code=decline.decline_code,
        param="cvc" if decline.code == "incorrect_cvc" else "",
    )
    details = error.body()["error"] | {"charge": charge["id"], "payment_method": method}
    failed = box.store.save(intent | {"last_payment_error": details, "latest_charge": charge["id"]})
    box.events.emit("charge.failed", charge)
    box.events.emit("payment_intent.payment_failed", failed)
    error.extra |= {
        "charge": charge["id"],
        "payment_intent": failed,
        "payment_method": method,
    }
    raise error


def _charge(box: Box, intent: Doc, method: Doc, card: Card) -> Doc:
    decline = card.decline
    charge_id = new_id("ch")
    return box.store.add(
        {
            "id": charge_id,
            "object": "charge",
            "amount": intent["amount"],
            "amount_captured": 0 if decline else intent["amount"],
            "amount_refunded": 0,
            "application": None,
            "application_fee": None,
            "application_fee_amount": None,
            "balance_transaction": None,
            "billing_details": method["billing_details"],
            "calculated_statement_descriptor": "FASTGPU SANDBOX",
            "captured": not decline,
            "created": box.clock.now(),
            "currency": intent["currency"],
            "customer": intent["customer"],
            "description": intent["description"],
            "disputed": False,
            "failure_balance_transaction": None,
            "failure_code": decline.code if decline else None,
            "failure_message": decline.message if decline else None,
            "fraud_details": {},
            "livemode": False,
            "metadata": intent["metadata"],
            "on_behalf_of": None,
            "outcome": _outcome(decline),
            "paid": not decline,
            "payment_intent": intent["id"],
            "payment_method": method["id"],
            "payment_method_details": {"type": "card", "card": _charged_card(card, intent)},
            "receipt_email": intent["receipt_email"],
            "receipt_number": None,
            "receipt_url": None,
            "refunded": False,
            "review": None,
            "shipping": None,
            "source": None,
            "source_transfer": None,
            "statement_descriptor": None,
            "statement_descriptor_suffix": intent["statement_descriptor_suffix"],
            "status": "failed" if decline else "succeeded",
            "transfer_data": None,
            "transfer_group": None,
        }
    )


def _outcome(decline: Decline | None) -> Doc:
    return {
        "advice_code": None,
        "network_advice_code": None,
        "network_decline_code": None,
        "network_status": "declined_by_network" if decline else "approved_by_network",
        "reason": decline.decline_code if decline else None,
        "risk_level": "normal",
        "seller_message": decline.message if decline else "Payment complete.",
        "type": "issuer_declined" if decline else "authorized",
    }


def _charged_card(card: Card, intent: Doc) -> Doc:
    return _card_facts(card) | {
        "amount_authorized": None if card.decline else intent["amount"],
        "authorization_code": None,
        "extended_authorization": {"status": "disabled"},
        "incremental_authorization": {"status": "unavailable"},
        "installments": None,
        "mandate": None,
        "multicapture": {"status": "unavailable"},
        "network": card.brand,
        "network_token": {"used": False},
        "network_transaction_id": None,
        "overcapture": {"maximum_amount_capturable": intent["amount"], "status": "unavailable"},
        "three_d_secure": None,
    }


def _card_facts(card: Card) -> Doc:
    wrong_cvc = bool(card.decline and card.decline.code == "incorrect_cvc")
    return {
        "brand": card.brand,
        "checks": {
            "address_line1_check": None,
            "address_postal_code_check": None,
            "cvc_check": "fail" if wrong_cvc else "pass",
        },
        "country": "US",
        "exp_month": card.exp_month,
        "exp_year": card.exp_year,
        "fingerprint": card.fingerprint,
        "funding": "credit",
        "last4": card.last4,
        "regulated_status": "unregulated",
        "wallet": None,
    }


def _billing(name: str, email: str) -> Doc:
    return {
        "address": dict(_NO_ADDRESS),
        "email": email or None,
        "name": name or None,
        "phone": None,
        "tax_id": None,
    }
