"""Customers: who pays."""

from __future__ import annotations

from billing.sandbox.box import Box
from billing.sandbox.errors import InvalidRequest
from billing.sandbox.forms import Params
from billing.sandbox.reading import expand, fetch
from billing.sandbox.store import Doc, new_id

_TEXTS = {"name": 256, "description": 5000, "phone": 20}
_ADDRESS = ("city", "country", "line1", "line2", "postal_code", "state")


def new_customer(box: Box, **fields: object) -> Doc:
    """Keep a customer with `fields` over Stripe's defaults and tell it by event."""
    customer_id = new_id("cus", 14)
    customer = box.store.add(
        {
            "id": customer_id,
            "object": "customer",
            "address": None,
            "balance": 0,
            "created": box.clock.now(),
            "currency": None,
            "customer_account": None,
            "default_source": None,
            "delinquent": False,
            "description": None,
            "discount": None,
            "email": None,
            "invoice_prefix": customer_id[-8:].upper(),
            "invoice_settings": {
                "custom_fields": None,
                "default_payment_method": None,
                "footer": None,
                "rendering_options": None,
            },
            "livemode": False,
            "metadata": {},
            "name": None,
            "next_invoice_sequence": 1,
            "phone": None,
            "preferred_locales": [],
            "shipping": None,
            "tax_exempt": "none",
            "test_clock": None,
        }
        | fields
    )
    box.events.emit("customer.created", customer)
    return customer


def create(box: Box, params: Params, _: str) -> Doc:
    """POST /v1/customers"""
    fields = _fields(params, {})
    paths = params.texts("expand")
    params.finish()
    return expand(box, new_customer(box, **fields), paths)


def update(box: Box, params: Params, customer_id: str) -> Doc:
    """POST /v1/customers/{id}: only what is sent changes."""
    old = fetch(box, "customer", customer_id)
    changes = _fields(params, old)
    paths = params.texts("expand")
    params.finish()
    previous = {name: old[name] for name, value in changes.items() if old[name] != value}
    new = box.store.save(old | changes)
    if previous:
        box.events.emit("customer.updated", new, previous)
    return expand(box, new, paths)


def _fields(params: Params, old: Doc) -> Doc:
    fields: Doc = {
        name: params.text(name, limit=limit) for name, limit in _TEXTS.items() if params.given(name)
    }
    if params.given("email"):
        fields["email"] = params.email("email")
    if params.given("tax_exempt"):
        fields["tax_exempt"] = params.choice("tax_exempt", {"none", "exempt", "reverse"}, "none")
    if params.given("metadata"):
        fields["metadata"] = params.metadata(old.get("metadata"))
    if params.given("preferred_locales"):
        fields["preferred_locales"] = params.texts("preferred_locales")
    if params.given("address"):
        fields["address"] = _address(params)
    return fields


def _address(params: Params) -> Doc | None:
    if not params.nested("address"):
        params.text("address")
        return None
    sent = params.inner("address")
    address = {name: sent.text(name) for name in _ADDRESS}
    country = address["country"]
    if country and not (len(country) == 2 and country.isalpha()):
        raise InvalidRequest(
            f"Country '{country[:20]}' is unknown. Use a two-letter code.",
            code="country_code_invalid",
            param="address[country]",
        )
    return address
