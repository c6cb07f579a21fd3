"""Checkout Sessions: made by the portal, carried out on our page, or expired.

In payment mode money is paid, in setup mode a card is saved.
"""

from __future__ import annotations

from billing.sandbox import methods, money
from billing.sandbox.box import Box
from billing.sandbox.cards import Card
from billing.sandbox.customers import new_customer
from billing.sandbox.errors import InvalidRequest
from billing.sandbox.forms import Params
from billing.sandbox.line_items import read_lines
from billing.sandbox.payment_intents import cancel, confirm, new_intent
from billing.sandbox.reading import expand, fetch
from billing.sandbox.setup_intents import confirm_setup, new_setup
from billing.sandbox.store import Doc, Query, new_id

_LONGEST_S = 24 * 3600
_SHORTEST_S = 30 * 60
_SUBMIT_TYPES = {"auto", "pay", "book", "donate"}


def create(box: Box, params: Params, _: str) -> Doc:
    """POST /v1/checkout/sessions"""
    mode = params.choice("mode", {"payment", "setup", "subscription"})
    if mode == "setup":
        return _create_setup(box, params)
    if mode != "payment":
        raise InvalidRequest(
            "The sandbox makes sessions with mode=payment or mode=setup only.", param="mode"
        )
    session_id = new_id("cs_test", 58)
    items, currency, total = read_lines(params)
    fields = _fields(box, params)
    wishes = _intent_fields(params.inner("payment_intent_data"))
    paths = params.texts("expand")
    params.finish()
    money.check_amount(total, currency, "The Checkout Session's total amount due")
    session = box.store.add(_blank(box, session_id, currency, total) | fields)
    page = {"object": "list", "data": items, "has_more": False}
    _keep_hidden(
        box,
        session,
        line_items=page | {"url": f"/v1/checkout/sessions/{session_id}/line_items"},
        wishes=wishes,
    )
    return expand(box, session, paths)


def _create_setup(box: Box, params: Params) -> Doc:
    session_id = new_id("cs_test", 58)
    currency = params.text("currency")
    if currency:
        currency = money.check_currency(currency, "currency")
    fields = _fields(box, params)
    wishes = params.inner("setup_intent_data")
    metadata = wishes.metadata()
    paths = params.texts("expand")
    params.finish()
    setup = new_setup(box, customer=fields["customer"], usage="off_session", metadata=metadata)
    own = {
        "amount_subtotal": None,
        "amount_total": None,
        "mode": "setup",
        "payment_method_collection": "always",
        "payment_status": "no_payment_required",
        "setup_intent": setup["id"],
        "total_details": None,
    }
    blank = _blank(box, session_id, currency, 0)
    session = box.store.add(blank | fields | own)
    page = {"object": "list", "data": [], "has_more": False}
    _keep_hidden(
        box,
        session,
        line_items=page | {"url": f"/v1/checkout/sessions/{session_id}/line_items"},
        wishes={},
    )
    return expand(box, session, paths)


def line_items(box: Box, params: Params, session_id: str) -> Doc:
    """GET /v1/checkout/sessions/{id}/line_items: all on one page."""
    params.integer("limit", minimum=1, maximum=100)
    params.finish()
    fetch(box, "checkout.session", session_id)
    listed: Doc = box.store.get("line_items_of", f"li_of_{session_id}")["list"]
    return listed


def expire(box: Box, params: Params, session_id: str) -> Doc:
    """POST /v1/checkout/sessions/{id}/expire"""
    paths = params.texts("expand")
    params.finish()
    session = fetch(box, "checkout.session", session_id)
    if session["status"] != "open":
        raise InvalidRequest(
            'Only Checkout Sessions with a status in ["open"] can be expired. This one has '
            f"the status {session['status']}.",
        )
    return expand(box, _expire(box, session), paths)


def expire_overdue(box: Box) -> None:
    """Expire each open session whose time is over; call it in a transaction."""
    for session in box.store.sessions_past(box.clock.now()):
        _expire(box, session)


def pay(box: Box, session: Doc, card: Card, *, name: str, email: str) -> Doc:
    """Carry an open session out with `card`; it is complete then, or waits for the card's owner.

    Raises CardRefused when the bank says no: the attempt is kept, so commit before passing it on.
    """
    details: Doc = {
        "address": None,
        "business_name": None,
        "email": email,
        "individual_name": None,
        "name": name or None,
        "phone": None,
        "tax_exempt": "none",
        "tax_ids": [],
    }
    session = box.store.save(session | {"customer_details": details})
    method = methods.new_method(box, card, name=name, email=email)
    if session["mode"] == "setup":
        setup = box.store.get("setup_intent", session["setup_intent"])
        done = confirm_setup(box, setup, method, return_url=None)
        return finish(box, session, done)
    session, intent = _intent_of(box, session, card, name=name, email=email)
    return finish(box, session, confirm(box, intent, method))


def finish(box: Box, session: Doc, done: Doc) -> Doc:
    """Complete the session once its intent has succeeded; until then it stays as it is."""
    if done["status"] != "succeeded":
        return session
    paid = session["payment_status"] if session["mode"] == "setup" else "paid"
    changes = {"payment_status": paid, "status": "complete", "url": None}
    complete = box.store.save(session | changes)
    box.events.emit("checkout.session.completed", complete)
    return complete


def session_of(box: Box, intent: Doc) -> Doc | None:
    """The open session that an intent belongs to, if it came from one."""
    field = "setup_intent" if intent["object"] == "setup_intent" else "payment_intent"
    found, _ = box.store.page("checkout.session", Query(equal={field: intent["id"]}, limit=1))
    return found[0] if found and found[0]["status"] == "open" else None


def _intent_of(box: Box, session: Doc, card: Card, *, name: str, email: str) -> tuple[Doc, Doc]:
    customer = session["customer"]
    if session["payment_intent"]:
        intent = box.store.get("payment_intent", session["payment_intent"])
    else:
        wishes = box.store.get("line_items_of", f"li_of_{session['id']}")["wishes"]
        intent = new_intent(
            box,
            amount=session["amount_total"],
            currency=session["currency"],
            **({"customer": customer} | wishes),
        )
        session = box.store.save(session | {"payment_intent": intent["id"]})
    makes_one = session["customer_creation"] == "always" and customer is None
    if makes_one and not card.behaviour.decline:
        customer = new_customer(box, email=email, name=name or None)["id"]
        session = box.store.save(session | {"customer": customer})
        intent = box.store.save(intent | {"customer": customer})
    return session, intent


def lines_of(box: Box, session: Doc) -> list[Doc]:
    """The lines a payer sees on the page."""
    items: list[Doc] = box.store.get("line_items_of", f"li_of_{session['id']}")["list"]["data"]
    return items


def _expire(box: Box, session: Doc) -> Doc:
    if session["payment_intent"]:
        intent = box.store.get("payment_intent", session["payment_intent"])
        cancel(box, intent, "abandoned")
    if session["setup_intent"]:
        setup = box.store.get("setup_intent", session["setup_intent"])
        abandoned = {"cancellation_reason": "abandoned", "status": "canceled"}
        box.events.emit("setup_intent.canceled", box.store.save(setup | abandoned))
    expired = box.store.save(session | {"status": "expired", "url": None})
    box.events.emit("checkout.session.expired", expired)
    return expired


def _fields(box: Box, params: Params) -> Doc:
    customer = params.text("customer")
    email = params.email("customer_email")
    if customer and email:
        raise InvalidRequest(
            "You may only specify one of these parameters: customer, customer_email.",
            param="customer_email",
        )
    if customer:
        fetch(box, "customer", customer, param="customer")
    creation = params.choice("customer_creation", {"always", "if_required"})
    if customer and creation:
        raise InvalidRequest(
            "customer_creation can only be used without customer.", param="customer_creation"
        )
    types = params.texts("payment_method_types") or ["card"]
    if types != ["card"]:
        raise InvalidRequest("The sandbox takes cards only.", param="payment_method_types")
    params.choice("ui_mode", {"hosted_page"})
    return {
        "cancel_url": params.url("cancel_url"),
        "client_reference_id": params.text("client_reference_id", limit=200),
        "customer": customer,
        "customer_creation": None if customer else creation or "if_required",
        "customer_email": email,
        "expires_at": _expires_at(box, params),
        "locale": params.text("locale", limit=10),
        "metadata": params.metadata(),
        "submit_type": params.choice("submit_type", _SUBMIT_TYPES),
        "success_url": params.url("success_url", required=True),
    }


def _expires_at(box: Box, params: Params) -> int:
    now = box.clock.now()
    asked = params.integer("expires_at", minimum=0, maximum=10**11)
    if asked is None:
        return now + _LONGEST_S
    if not now + _SHORTEST_S <= asked <= now + _LONGEST_S:
        raise InvalidRequest(
            "The `expires_at` timestamp must be between 30 minutes and 24 hours from now.",
            param="expires_at",
        )
    return asked


def _intent_fields(sent: Params) -> Doc:
    return {
        "description": sent.text("description", limit=1000),
        "metadata": sent.metadata(),
        "receipt_email": sent.email("receipt_email"),
        "setup_future_usage": sent.choice("setup_future_usage", {"on_session", "off_session"}),
        "statement_descriptor_suffix": sent.text("statement_descriptor_suffix", limit=22),
    }


def _keep_hidden(box: Box, session: Doc, *, line_items: Doc, wishes: Doc) -> None:
    """What a session holds and does not show."""
    box.store.add(
        {
            "id": f"li_of_{session['id']}",
            "object": "line_items_of",
            "created": session["created"],
            "list": line_items,
            "wishes": wishes,
        }
    )


def _blank(box: Box, session_id: str, currency: str | None, total: int) -> Doc:
    return {
        "id": session_id,
        "object": "checkout.session",
        "adaptive_pricing": {"enabled": False},
        "after_expiration": None,
        "allow_promotion_codes": None,
        "amount_subtotal": total,
        "amount_total": total,
        "automatic_tax": {"enabled": False, "liability": None, "provider": None, "status": None},
        "billing_address_collection": None,
        "client_secret": None,
        "collected_information": None,
        "consent": None,
        "consent_collection": None,
        "created": box.clock.now(),
        "currency": currency,
        "currency_conversion": None,
        "custom_fields": [],
        "custom_text": dict.fromkeys(
            ("after_submit", "shipping_address", "submit", "terms_of_service_acceptance")
        ),
        "customer_account": None,
        "customer_details": None,
        "discounts": [],
        "integration_identifier": None,
        "invoice": None,
        "invoice_creation": {"enabled": False, "invoice_data": {}},
        "livemode": False,
        "managed_payments": {"enabled": False},
        "mode": "payment",
        "origin_context": None,
        "payment_intent": None,
        "payment_link": None,
        "payment_method_collection": "if_required",
        "payment_method_configuration_details": None,
        "payment_method_options": {"card": {"request_three_d_secure": "automatic"}},
        "payment_method_types": ["card"],
        "payment_status": "unpaid",
        "permissions": None,
        "phone_number_collection": {"enabled": False},
        "recovered_from": None,
        "saved_payment_method_options": None,
        "setup_intent": None,
        "shipping_address_collection": None,
        "shipping_cost": None,
        "shipping_options": [],
        "status": "open",
        "subscription": None,
        "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
        "ui_mode": "hosted_page",
        "url": f"{box.settings.public_url.rstrip('/')}/c/pay/{session_id}",
        "wallet_options": None,
    }
