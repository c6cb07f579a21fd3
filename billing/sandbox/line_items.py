"""The lines of a Checkout Session: one-time prices made on the spot."""

from __future__ import annotations

from billing.sandbox import money
from billing.sandbox.errors import InvalidRequest
from billing.sandbox.forms import Params
from billing.sandbox.store import Doc, new_id


def read_lines(params: Params) -> tuple[list[Doc], str, int]:
    """The `line_items` asked for, their currency and their sum in its smallest unit."""
    sent = params.items("line_items")
    if not 1 <= len(sent) <= 100:
        raise InvalidRequest(
            "Send between 1 and 100 line items.", code="parameter_missing", param="line_items"
        )
    items = [_line_item(item) for item in sent]
    currencies = {item["currency"] for item in items}
    if len(currencies) > 1:
        raise InvalidRequest("All line items must share one currency.", param="line_items")
    return items, currencies.pop(), sum(item["amount_total"] for item in items)


def _line_item(sent: Params) -> Doc:
    data = sent.inner("price_data")
    currency = money.check_currency(data.required("currency"), data.name("currency"))
    unit = data.integer("unit_amount", minimum=0, maximum=money.MAX_AMOUNT)
    if unit is None:
        name = data.name("unit_amount")
        raise InvalidRequest(
            f"Missing required param: {name}.", code="parameter_missing", param=name
        )
    product = data.inner("product_data")
    title = product.required("name", limit=250)
    product.text("description")
    product.metadata()
    quantity = sent.integer("quantity", minimum=1, maximum=999_999) or 1
    return {
        "id": new_id("li"),
        "object": "item",
        "amount_discount": 0,
        "amount_subtotal": unit * quantity,
        "amount_tax": 0,
        "amount_total": unit * quantity,
        "currency": currency,
        "description": title,
        "metadata": {},
        "price": {
            "id": new_id("price"),
            "object": "price",
            "active": False,
            "currency": currency,
            "livemode": False,
            "metadata": {},
            "nickname": None,
            "product": new_id("prod", 14),
            "type": "one_time",
            "unit_amount": unit,
            "unit_amount_decimal": str(unit),
        },
        "quantity": quantity,
    }
