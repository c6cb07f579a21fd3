"""/v1/payment_intents: made, confirmed, changed and canceled by the portal."""

from __future__ import annotations

from billing.sandbox import methods, money
from billing.sandbox.box import Box
from billing.sandbox.errors import CardRefused, InvalidRequest
from billing.sandbox.forms import Params
from billing.sandbox.payment_intents import cancel as give_up
from billing.sandbox.payment_intents import confirm as carry_out
from billing.sandbox.payment_intents import new_intent
from billing.sandbox.reading import expand, fetch
from billing.sandbox.store import Doc

_CANCELABLE = {"requires_payment_method", "requires_confirmation", "requires_action"}
_REASONS = {"duplicate", "fraudulent", "requested_by_customer", "abandoned"}


def create(box: Box, params: Params, _: str) -> Doc:
    """POST /v1/payment_intents"""
    amount = params.integer("amount", minimum=1, maximum=10**12)
    if amount is None:
        raise InvalidRequest(
            "Missing required param: amount.", code="parameter_missing", param="amount"
        )
    currency = money.check_currency(params.required("currency"), "currency")
    money.check_amount(amount, currency, "Amount")
    customer = params.text("customer")
    if customer:
        fetch(box, "customer", customer, param="customer")
    named = params.text("payment_method")
    wants_confirm = params.boolean("confirm", default=False)
    off_session = params.boolean("off_session", default=False)
    if off_session and not wants_confirm:
        raise InvalidRequest("off_session can only be used with confirm=true.", param="off_session")
    return_url = params.url("return_url")
    error_on_action = params.boolean("error_on_requires_action", default=False)
    fields = _fields(params)
    paths = params.texts("expand")
    params.finish()
    method = methods.resolve(box, named) if named else None
    if method:
        methods.check_usable(box, method, customer, off_session=off_session)
    if wants_confirm and method is None:
        raise InvalidRequest(
            "You cannot confirm this PaymentIntent because it's missing a payment method.",
            code="payment_intent_unexpected_state",
        )
    intent = new_intent(box, amount=amount, currency=currency, customer=customer, **fields)
    if method is None:
        return expand(box, intent, paths)
    if not wants_confirm:
        ready = {"payment_method": method["id"], "status": "requires_confirmation"}
        return expand(box, box.store.save(intent | ready), paths)
    done = carry_out(box, intent, method, off_session=off_session, return_url=return_url)
    return expand(box, _checked(box, done, error_on_action=error_on_action), paths)


def confirm(box: Box, params: Params, intent_id: str) -> Doc:
    """POST /v1/payment_intents/{id}/confirm"""
    intent = fetch(box, "payment_intent", intent_id)
    named = params.text("payment_method") or intent["payment_method"]
    off_session = params.boolean("off_session", default=False)
    return_url = params.url("return_url")
    error_on_action = params.boolean("error_on_requires_action", default=False)
    paths = params.texts("expand")
    params.finish()
    _check_open(intent, "confirm")
    if not named:
        raise InvalidRequest(
            "You cannot confirm this PaymentIntent because it's missing a payment method.",
            code="payment_intent_unexpected_state",
        )
    method = methods.resolve(box, named)
    methods.check_usable(box, method, intent["customer"], off_session=off_session)
    done = carry_out(box, intent, method, off_session=off_session, return_url=return_url)
    return expand(box, _checked(box, done, error_on_action=error_on_action), paths)


def cancel(box: Box, params: Params, intent_id: str) -> Doc:
    """POST /v1/payment_intents/{id}/cancel"""
    reason = params.choice("cancellation_reason", _REASONS)
    paths = params.texts("expand")
    params.finish()
    intent = fetch(box, "payment_intent", intent_id)
    _check_open(intent, "cancel")
    return expand(box, give_up(box, intent, reason), paths)


def update(box: Box, params: Params, intent_id: str) -> Doc:
    """POST /v1/payment_intents/{id}: metadata and words only."""
    intent = fetch(box, "payment_intent", intent_id)
    changes: Doc = {"metadata": params.metadata(intent["metadata"])}
    if params.given("description"):
        changes["description"] = params.text("description", limit=1000)
    if params.given("receipt_email"):
        changes["receipt_email"] = params.email("receipt_email")
    paths = params.texts("expand")
    params.finish()
    return expand(box, box.store.save(intent | changes), paths)


def _fields(params: Params) -> Doc:
    types = params.texts("payment_method_types")
    if types and types != ["card"]:
        raise InvalidRequest("The sandbox takes cards only.", param="payment_method_types")
    automatic = None
    if params.given("automatic_payment_methods"):
        sent = params.inner("automatic_payment_methods")
        automatic = {
            "allow_redirects": sent.choice("allow_redirects", {"always", "never"}, "always"),
            "enabled": sent.boolean("enabled", default=True),
        }
        if types:
            raise InvalidRequest(
                "You may only specify one of these parameters: automatic_payment_methods, "
                "payment_method_types.",
                param="automatic_payment_methods",
            )
    return {
        "automatic_payment_methods": automatic,
        "description": params.text("description", limit=1000),
        "metadata": params.metadata(),
        "receipt_email": params.email("receipt_email"),
        "setup_future_usage": params.choice("setup_future_usage", {"on_session", "off_session"}),
        "statement_descriptor_suffix": params.text("statement_descriptor_suffix", limit=22),
    }


def _check_open(intent: Doc, deed: str) -> None:
    if intent["status"] not in _CANCELABLE:
        raise InvalidRequest(
            f"You cannot {deed} this PaymentIntent because it has a status of {intent['status']}.",
            code="payment_intent_unexpected_state",
        )


def _checked(box: Box, intent: Doc, *, error_on_action: bool) -> Doc:
    if error_on_action and intent["status"] == "requires_action":
        canceled = box.store.save(
            intent | {"next_action": None, "status": "requires_payment_method"}
        )
        raise CardRefused(
            "This payment required an authentication action to complete, but "
            "`error_on_requires_action` was set.",
            code="authentication_required",
            decline_code="authentication_required",
            extra={"payment_intent": canceled},
        )
    return intent
