"""The server: Stripe's routes, the Checkout page, and the courier of webhooks behind them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from billing.sandbox import (
    balance,
    checkout,
    customers,
    disputes,
    intents_api,
    methods,
    page,
    payouts,
    refunds,
    setup_intents,
)
from billing.sandbox.box import Box
from billing.sandbox.calls import answer, broken, respond
from billing.sandbox.courier import Courier
from billing.sandbox.errors import UnknownRoute
from billing.sandbox.forms import Params
from billing.sandbox.reading import Operation, listing, retrieve
from billing.sandbox.settings import Settings
from billing.sandbox.store import Doc, new_id

_BY_CUSTOMER = {"customer": "customer"}
_BY_PAYMENT = {"charge": "charge", "payment_intent": "payment_intent"}


def _advance_clock(box: Box, params: Params, _: str) -> Doc:
    """POST /_sandbox/clock `advance=seconds`: not Stripe's; for tests that cannot wait."""
    box.clock.advance(params.integer("advance", minimum=0, maximum=10**9) or 0)
    params.finish()
    return {"object": "sandbox.clock", "now": box.clock.now()}


def _read_clock(box: Box, params: Params, _: str) -> Doc:
    """GET /_sandbox/clock"""
    params.finish()
    return {"object": "sandbox.clock", "now": box.clock.now()}


def _add_fault(box: Box, params: Params, _: str) -> Doc:
    """POST /_sandbox/faults, see `billing.sandbox.faults`"""
    return box.faults.add(params)


def _list_faults(box: Box, params: Params, _: str) -> Doc:
    """GET /_sandbox/faults"""
    params.finish()
    return {"object": "list", "data": box.faults.rules(), "has_more": False}


def _clear_faults(box: Box, params: Params, _: str) -> Doc:
    """DELETE /_sandbox/faults"""
    box.faults.clear()
    return _list_faults(box, params, "")


def _by_delivery(params: Params) -> dict[str, int]:
    """`delivery_success`: only events that every endpoint took, or that one has not taken yet."""
    if not params.given("delivery_success"):
        return {}
    return {"pending_webhooks": 0 if params.boolean("delivery_success", default=True) else 1}


OPERATIONS: list[tuple[str, str, Operation]] = [
    ("POST", "/v1/customers", customers.create),
    ("GET", "/v1/customers", listing("customer", "/v1/customers", {"email": "email"})),
    ("GET", "/v1/customers/{id}", retrieve("customer")),
    ("POST", "/v1/customers/{id}", customers.update),
    ("POST", "/v1/checkout/sessions", checkout.create),
    (
        "GET",
        "/v1/checkout/sessions",
        listing(
            "checkout.session",
            "/v1/checkout/sessions",
            _BY_CUSTOMER | {"payment_intent": "payment_intent", "status": "status"},
        ),
    ),
    ("GET", "/v1/checkout/sessions/{id}", retrieve("checkout.session")),
    ("GET", "/v1/checkout/sessions/{id}/line_items", checkout.line_items),
    ("POST", "/v1/checkout/sessions/{id}/expire", checkout.expire),
    ("GET", "/v1/payment_intents", listing("payment_intent", "/v1/payment_intents", _BY_CUSTOMER)),
    ("GET", "/v1/payment_intents/{id}", retrieve("payment_intent")),
    ("POST", "/v1/payment_intents", intents_api.create),
    ("POST", "/v1/payment_intents/{id}", intents_api.update),
    ("POST", "/v1/payment_intents/{id}/confirm", intents_api.confirm),
    ("POST", "/v1/payment_intents/{id}/cancel", intents_api.cancel),
    ("POST", "/v1/setup_intents", setup_intents.create),
    (
        "GET",
        "/v1/setup_intents",
        listing(
            "setup_intent",
            "/v1/setup_intents",
            _BY_CUSTOMER | {"payment_method": "payment_method"},
        ),
    ),
    ("GET", "/v1/setup_intents/{id}", retrieve("setup_intent")),
    ("POST", "/v1/setup_intents/{id}/confirm", setup_intents.confirm),
    ("POST", "/v1/setup_intents/{id}/cancel", setup_intents.cancel),
    (
        "GET",
        "/v1/payment_methods",
        listing("payment_method", "/v1/payment_methods", _BY_CUSTOMER | {"type": "type"}),
    ),
    ("GET", "/v1/payment_methods/{id}", retrieve("payment_method")),
    ("POST", "/v1/payment_methods/{id}/attach", methods.attach),
    ("POST", "/v1/payment_methods/{id}/detach", methods.detach),
    ("GET", "/v1/customers/{id}/payment_methods", methods.of_customer),
    ("GET", "/v1/disputes", listing("dispute", "/v1/disputes", _BY_PAYMENT)),
    ("GET", "/v1/disputes/{id}", retrieve("dispute")),
    ("POST", "/v1/disputes/{id}", disputes.update),
    ("POST", "/v1/disputes/{id}/close", disputes.close),
    (
        "GET",
        "/v1/charges",
        listing("charge", "/v1/charges", _BY_CUSTOMER | {"payment_intent": "payment_intent"}),
    ),
    ("GET", "/v1/charges/{id}", retrieve("charge")),
    ("POST", "/v1/refunds", refunds.create),
    ("GET", "/v1/refunds", listing("refund", "/v1/refunds", _BY_PAYMENT)),
    ("GET", "/v1/refunds/{id}", retrieve("refund")),
    ("GET", "/v1/events", listing("event", "/v1/events", {"type": "type"}, None, _by_delivery)),
    ("GET", "/v1/events/{id}", retrieve("event")),
    ("GET", "/v1/balance", balance.retrieve),
    (
        "GET",
        "/v1/balance_transactions",
        listing(
            "balance_transaction",
            "/v1/balance_transactions",
            {"source": "source", "type": "type", "currency": "currency"},
            balance.as_of_now,
        ),
    ),
    ("GET", "/v1/balance_transactions/{id}", balance.retrieve_transaction),
    ("GET", "/v1/payouts", listing("payout", "/v1/payouts", {"status": "status"})),
    ("GET", "/v1/payouts/{id}", retrieve("payout")),
    ("POST", "/_sandbox/clock", _advance_clock),
    ("GET", "/_sandbox/clock", _read_clock),
    ("POST", "/_sandbox/payout", payouts.pay_out),
    ("POST", "/_sandbox/faults", _add_fault),
    ("GET", "/_sandbox/faults", _list_faults),
    ("DELETE", "/_sandbox/faults", _clear_faults),
]


def create_app(settings: Settings) -> Starlette:
    """The ASGI application; its state lies in `settings.state_dir`."""
    box = Box(settings)
    courier = Courier(box)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        work = asyncio.create_task(courier.run())
        try:
            yield
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            box.store.close()

    pages = page.Pages(box, courier)
    return Starlette(
        routes=[
            *(
                Route(path, _endpoint(box, courier, operation), methods=[method])
                for method, path, operation in OPERATIONS
            ),
            *pages.routes(),
            Route("/healthz", _healthy),
        ],
        exception_handlers={404: _unknown, 405: _unknown, Exception: broken},
        lifespan=lifespan,
    )


def _endpoint(
    box: Box, courier: Courier, operation: Operation
) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        courier.catch_up()
        try:
            return await answer(box, request, operation)
        finally:
            courier.wake()

    return endpoint


def _unknown(request: Request, _: Exception) -> Response:
    body = UnknownRoute(request.method, request.url.path).body()
    return respond(404, json.dumps(body, indent=2), {"Request-Id": new_id("req", 14)})


def _healthy(_: Request) -> Response:
    return PlainTextResponse("ok")
