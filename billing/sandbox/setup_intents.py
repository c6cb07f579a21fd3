"""SetupIntents: a card saved with its owner present, for charges while they are away."""

from __future__ import annotations

import secrets

from billing.sandbox import methods
from billing.sandbox.box import Box
from billing.sandbox.cards import Decline
from billing.sandbox.errors import CardRefused, InvalidRequest
from billing.sandbox.forms import Params
from billing.sandbox.reading import expand, fetch
from billing.sandbox.store import Doc, new_id

_ASKS = {"unless_saved", "always", "on_save"}
_OPEN = {"requires_payment_method", "requires_confirmation", "requires_action"}
_NOT_AUTHENTICATED = Decline(
    "setup_intent_authentication_failure",
    "",
    "We are unable to authenticate your payment method. Choose another one and try again.",
)


def new_setup(box: Box, *, customer: str | None, usage: str, metadata: dict[str, str]) -> Doc:
    """Keep an open SetupIntent."""
    setup_id = new_id("seti")
    setup = box.store.add(
        {
            "id": setup_id,
            "object": "setup_intent",
            "application": None,
            "automatic_payment_methods": None,
            "cancellation_reason": None,
            "client_secret": f"{setup_id}_secret_{secrets.token_hex(12)}",
            "created": box.clock.now(),
            "customer": customer,
            "customer_account": None,
            "description": None,
            "excluded_payment_method_types": None,
            "flow_directions": None,
            "last_setup_error": None,
            "latest_attempt": None,
            "livemode": False,
            "managed_payments": {"enabled": False},
            "mandate": None,
            "metadata": metadata,
            "next_action": None,
            "on_behalf_of": None,
            "payment_method": None,
            "payment_method_configuration_details": None,
            "payment_method_options": {"card": {"request_three_d_secure": "automatic"}},
            "payment_method_types": ["card"],
            "single_use_mandate": None,
            "status": "requires_payment_method",
            "usage": usage,
        }
    )
    box.events.emit("setup_intent.created", setup)
    return setup


def confirm_setup(box: Box, setup: Doc, method: Doc, *, return_url: str | None) -> Doc:
    """Save the card, or ask its owner first. Raises CardRefused; the attempt is kept."""
    found = methods.behaviour(method)
    if found.decline:
        return _failed(box, setup, method, found.decline)
    if found.authentication in _ASKS:
        return _ask_owner(box, setup, method, return_url)
    return _succeed(box, setup, method)


def authenticate_setup(box: Box, setup: Doc, *, is_owner: bool) -> Doc:
    """What the owner answered on the bank's page."""
    method = box.store.get("payment_method", setup["payment_method"])
    if is_owner:
        return _succeed(box, setup, method)
    try:
        return _failed(box, setup, method, _NOT_AUTHENTICATED)
    except CardRefused:
        return box.store.get("setup_intent", setup["id"])


def create(box: Box, params: Params, _: str) -> Doc:
    """POST /v1/setup_intents"""
    customer = params.text("customer")
    if customer:
        fetch(box, "customer", customer, param="customer")
    named = params.text("payment_method")
    usage = params.choice("usage", {"off_session", "on_session"}, "off_session") or "off_session"
    wants_confirm = params.boolean("confirm", default=False)
    return_url = params.url("return_url")
    types = params.texts("payment_method_types")
    if types and types != ["card"]:
        raise InvalidRequest("The sandbox takes cards only.", param="payment_method_types")
    metadata = params.metadata()
    paths = params.texts("expand")
    params.finish()
    method = methods.resolve(box, named) if named else None
    if method:
        methods.check_usable(box, method, customer, off_session=False)
    setup = new_setup(box, customer=customer, usage=usage, metadata=metadata)
    if method and wants_confirm:
        setup = confirm_setup(box, setup, method, return_url=return_url)
    elif method:
        ready = {"payment_method": method["id"], "status": "requires_confirmation"}
        setup = box.store.save(setup | ready)
    return expand(box, setup, paths)


def confirm(box: Box, params: Params, setup_id: str) -> Doc:
    """POST /v1/setup_intents/{id}/confirm"""
    setup = fetch(box, "setup_intent", setup_id)
    named = params.text("payment_method") or setup["payment_method"]
    return_url = params.url("return_url")
    paths = params.texts("expand")
    params.finish()
    _check_open(setup, "confirm")
    if not named:
        raise InvalidRequest(
            "You cannot confirm this SetupIntent because it's missing a payment method.",
            code="setup_intent_unexpected_state",
        )
    method = methods.resolve(box, named)
    methods.check_usable(box, method, setup["customer"], off_session=False)
    return expand(box, confirm_setup(box, setup, method, return_url=return_url), paths)


def cancel(box: Box, params: Params, setup_id: str) -> Doc:
    """POST /v1/setup_intents/{id}/cancel"""
    reason = params.choice(
        "cancellation_reason", {"abandoned", "duplicate", "requested_by_customer"}
    )
    paths = params.texts("expand")
    params.finish()
    setup = fetch(box, "setup_intent", setup_id)
    _check_open(setup, "cancel")
    changes = {"cancellation_reason": reason, "next_action": None, "status": "canceled"}
    canceled = box.store.save(setup | changes)
    box.events.emit("setup_intent.canceled", canceled)
    return expand(box, canceled, paths)


def _check_open(setup: Doc, deed: str) -> None:
    if setup["status"] not in _OPEN:
        raise InvalidRequest(
            f"You cannot {deed} this SetupIntent because it has a status of {setup['status']}.",
            code="setup_intent_unexpected_state",
        )


def _succeed(box: Box, setup: Doc, method: Doc) -> Doc:
    if setup["customer"]:
        method = methods.attach_to(box, method, setup["customer"])
    if setup["usage"] == "off_session":
        methods.mark_saved(box, method)
    done = box.store.save(
        setup
        | {
            "last_setup_error": None,
            "next_action": None,
            "payment_method": method["id"],
            "status": "succeeded",
        }
    )
    box.events.emit("setup_intent.succeeded", done)
    return done


def _ask_owner(box: Box, setup: Doc, method: Doc, return_url: str | None) -> Doc:
    url = f"{box.settings.public_url.rstrip('/')}/c/auth/{setup['id']}"
    waiting = box.store.save(
        setup
        | {
            "next_action": {
                "type": "redirect_to_url",
                "redirect_to_url": {"return_url": return_url, "url": url},
            },
            "payment_method": method["id"],
            "status": "requires_action",
        }
    )
    box.events.emit("setup_intent.requires_action", waiting)
    return waiting


def _failed(box: Box, setup: Doc, method: Doc, decline: Decline) -> Doc:
    error = CardRefused(decline.message, code=decline.code, decline_code=decline.decline_code)
    details = error.body()["error"] | {"payment_method": method}
    failed = box.store.save(
        setup
        | {
            "last_setup_error": details,
            "next_action": None,
            "payment_method": None,
            "status": "requires_payment_method",
        }
    )
    box.events.emit("setup_intent.setup_failed", failed)
    error.extra |= {"payment_method": method, "setup_intent": failed}
    raise error
