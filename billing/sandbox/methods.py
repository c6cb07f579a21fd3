"""Cards kept as PaymentMethods: made, attached to a customer, detached for good."""

from __future__ import annotations

from billing.sandbox.box import Box
from billing.sandbox.cards import Behaviour, Card, behaviour_of, token_card
from billing.sandbox.errors import CardRefused, InvalidRequest
from billing.sandbox.forms import Params
from billing.sandbox.reading import expand, fetch
from billing.sandbox.store import Doc, Query, new_id

_NO_ADDRESS = dict.fromkeys(("city", "country", "line1", "line2", "postal_code", "state"))


def new_method(box: Box, card: Card, *, name: str = "", email: str = "") -> Doc:
    """Keep a card as a PaymentMethod of nobody's."""
    return box.store.add(
        {
            "id": new_id("pm"),
            "object": "payment_method",
            "allow_redisplay": "limited",
            "billing_details": {
                "address": dict(_NO_ADDRESS),
                "email": email or None,
                "name": name or None,
                "phone": None,
                "tax_id": None,
            },
            "card": _card(card),
            "created": box.clock.now(),
            "customer": None,
            "customer_account": None,
            "livemode": False,
            "metadata": {},
            "type": "card",
        }
    )


def behaviour(method: Doc) -> Behaviour:
    """What the test card behind a method does."""
    return behaviour_of(method["card"]["fingerprint"])


def resolve(box: Box, named: str, *, param: str = "payment_method") -> Doc:
    """The method that `named` is the id of, or a new one of a test token such as `pm_card_visa`."""
    card = token_card(named, box.clock.now())
    if card is not None:
        return new_method(box, card)
    return fetch(box, "payment_method", named, param=param)


def check_usable(box: Box, method: Doc, customer: str | None, *, off_session: bool) -> None:
    """Raises InvalidRequest unless `customer` may pay with `method`."""
    if box.store.find("spent_method", f"spent_{method['id']}"):
        raise InvalidRequest(
            f"The payment method {method['id']} was used or detached before and can not be used "
            "again. Attach a method to a customer to use it more than once.",
            code="payment_method_unexpected_state",
            param="payment_method",
        )
    owner = method["customer"]
    if owner is not None and owner != customer:
        raise InvalidRequest(
            f"The payment method {method['id']} belongs to a customer. Include that customer in "
            "the parameters to use it.",
            param="payment_method",
        )
    if owner is None and off_session:
        raise InvalidRequest(
            f"The payment method {method['id']} must be attached to the customer to be used off "
            "session.",
            param="payment_method",
        )


def attach_to(box: Box, method: Doc, customer: str) -> Doc:
    """Make the method the customer's; one that is theirs already stays so."""
    check_usable(box, method, customer, off_session=False)
    if method["customer"] == customer:
        return method
    attached = box.store.save(method | {"customer": customer})
    box.events.emit("payment_method.attached", attached)
    return attached


def mark_saved(box: Box, method: Doc) -> None:
    """Note that its owner agreed to charges while they are away."""
    if not is_saved(box, method):
        _note(box, "saved_method", f"saved_{method['id']}")


def is_saved(box: Box, method: Doc) -> bool:
    """Whether its owner agreed to charges while they are away."""
    return box.store.find("saved_method", f"saved_{method['id']}") is not None


def mark_spent(box: Box, method: Doc) -> None:
    """A method that was used without a customer, or detached, is good for nothing more."""
    if box.store.find("spent_method", f"spent_{method['id']}") is None:
        _note(box, "spent_method", f"spent_{method['id']}")


def attach(box: Box, params: Params, method_id: str) -> Doc:
    """POST /v1/payment_methods/{id}/attach"""
    customer = fetch(box, "customer", params.required("customer"), param="customer")
    paths = params.texts("expand")
    params.finish()
    method = resolve(box, method_id, param="id")
    decline = behaviour(method).decline
    if decline:
        raise CardRefused(decline.message, code=decline.code, decline_code=decline.decline_code)
    return expand(box, attach_to(box, method, customer["id"]), paths)


def detach(box: Box, params: Params, method_id: str) -> Doc:
    """POST /v1/payment_methods/{id}/detach"""
    paths = params.texts("expand")
    params.finish()
    method = fetch(box, "payment_method", method_id)
    if method["customer"] is None:
        raise InvalidRequest(
            "The payment method you provided is not attached to a customer so detachment is "
            "impossible.",
            param="payment_method",
        )
    detached = box.store.save(method | {"customer": None})
    mark_spent(box, method)
    previous = {"customer": method["customer"]}
    box.events.emit("payment_method.detached", detached, previous)
    return expand(box, detached, paths)


def of_customer(box: Box, params: Params, customer_id: str) -> Doc:
    """GET /v1/customers/{id}/payment_methods: newest first."""
    params.choice("type", {"card"})
    limit = params.integer("limit", minimum=1, maximum=100) or 10
    after = params.text("starting_after") or ""
    params.finish()
    fetch(box, "customer", customer_id)
    query = Query(equal={"customer": customer_id}, limit=limit, starting_after=after)
    data, more = box.store.page("payment_method", query)
    url = f"/v1/customers/{customer_id}/payment_methods"
    return {"object": "list", "data": data, "has_more": more, "url": url}


def card_facts(card: Card) -> Doc:
    """What a charge and a method both say of a card."""
    wrong_cvc = bool(card.behaviour.decline and card.behaviour.decline.code == "incorrect_cvc")
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


def _card(card: Card) -> Doc:
    return card_facts(card) | {
        "display_brand": card.brand,
        "generated_from": None,
        "networks": {"available": [card.brand], "preferred": None},
        "three_d_secure_usage": {"supported": True},
    }


def _note(box: Box, kind: str, note_id: str) -> None:
    box.store.add({"id": note_id, "object": kind, "created": box.clock.now()})
