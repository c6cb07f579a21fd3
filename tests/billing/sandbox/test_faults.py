"""The fault dial, seen by the real client."""

from __future__ import annotations

import httpx
import pytest
import stripe

from tests.billing.sandbox.conftest import Starter
from tests.billing.sandbox.harness import SECRET_KEY, Receiver, Server, until

INTENT: stripe.params.PaymentIntentCreateParams = {
    "amount": 5_00,
    "currency": "usd",
    "payment_method": "pm_card_visa",
    "confirm": True,
}


@pytest.fixture
def server(start: Starter, receiver: Receiver) -> Server:
    return start(receiver.url)


def dial(server: Server, **rule: str) -> None:
    assert server.post("/_sandbox/faults", rule).status_code == 200


def paid(server: Server) -> int:
    return len(server.client.v1.payment_intents.list({"limit": 100}).data)


def test_dropped_response_leaves_the_deed_and_its_key_replays_it(server: Server) -> None:
    dial(server, what="drop_response", method="POST", path="/v1/payment_intents")
    options: stripe.RequestOptions = {"idempotency_key": "dropped"}
    with pytest.raises(stripe.APIConnectionError):
        server.client.v1.payment_intents.create(INTENT, options)
    assert paid(server) == 1
    again = server.client.v1.payment_intents.create(INTENT, options)
    assert again.status == "succeeded"
    assert paid(server) == 1


def test_error_before_does_nothing_and_is_not_remembered(server: Server) -> None:
    dial(server, what="error_before", path="/v1/payment_intents")
    options: stripe.RequestOptions = {"idempotency_key": "before"}
    with pytest.raises(stripe.APIError):
        server.client.v1.payment_intents.create(INTENT, options)
    assert paid(server) == 0
    assert server.client.v1.payment_intents.create(INTENT, options).status == "succeeded"


def test_error_after_did_it_and_its_key_remembers_the_error(server: Server) -> None:
    dial(server, what="error_after", path="/v1/payment_intents")
    options: stripe.RequestOptions = {"idempotency_key": "after"}
    for _ in range(2):
        with pytest.raises(stripe.APIError):
            server.client.v1.payment_intents.create(INTENT, options)
    assert paid(server) == 1


def test_rule_is_used_up_and_kept_over_a_restart(server: Server) -> None:
    dial(server, what="error_before", path="/v1/customers", count="2")
    assert server.post("/v1/customers", {}).status_code == 500
    server.kill()
    server.start()
    assert server.post("/v1/customers", {}).status_code == 500
    assert server.post("/v1/customers", {}).status_code == 200


def test_duplicate_is_delivered_twice(server: Server, receiver: Receiver) -> None:
    dial(server, what="duplicate", event="customer.created")
    server.client.v1.customers.create({})
    until(lambda: len(receiver.got) == 2, "two deliveries")
    first, second = receiver.events()
    assert first.id == second.id


def test_held_event_is_overtaken(server: Server, receiver: Receiver) -> None:
    dial(server, what="hold", event="customer.created", seconds="60")
    customer = server.client.v1.customers.create({})
    server.client.v1.customers.update(customer.id, {"name": "Ada"})
    until(lambda: receiver.types() == ["customer.updated"], "the later one came")
    server.advance(61)
    until(lambda: len(receiver.got) == 2, "the earlier one follows")
    assert receiver.types()[1] == "customer.created"


def test_event_that_never_comes_can_be_listed(server: Server, receiver: Receiver) -> None:
    dial(server, what="never", event="customer.created")
    customer = server.client.v1.customers.create({})
    server.client.v1.customers.update(customer.id, {"name": "Ada"})
    until(lambda: receiver.types() == ["customer.updated"], "the other one came")
    lost = server.client.v1.events.list({"delivery_success": False})
    assert [event.type for event in lost.data] == ["customer.created"]


@pytest.mark.parametrize(
    "rule",
    [
        {},
        {"what": "explode", "path": "/"},
        {"what": "never", "path": "/"},
        {"what": "delay", "event": "x"},
        {"what": "delay", "path": "/", "count": "-1"},
    ],
)
def test_rule_that_cannot_be_is_refused(server: Server, rule: dict[str, str]) -> None:
    assert server.post("/_sandbox/faults", rule).status_code == 400


def test_clearing_ends_all_rules(server: Server) -> None:
    dial(server, what="error_before", path="/v1/", count="100")
    auth = {"Authorization": f"Bearer {SECRET_KEY}"}
    httpx.delete(f"{server.url}/_sandbox/faults", headers=auth)
    assert server.post("/v1/customers", {}).status_code == 200
