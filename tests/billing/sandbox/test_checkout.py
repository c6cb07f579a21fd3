"""From a Checkout Session to money in the balance."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import stripe
from playwright.sync_api import Browser, expect

from tests.billing.sandbox.conftest import Starter
from tests.billing.sandbox.harness import Receiver, Server, until

PAID = ["payment_intent.created", "charge.succeeded", "payment_intent.succeeded"]


def page(server: Server, session: stripe.checkout.Session) -> httpx.Response:
    return httpx.get(f"{server.url}/c/pay/{session.id}")


def test_a_new_session_is_open_and_unpaid(shared: Server) -> None:
    session = shared.session(client_reference_id="team_1", metadata={"payment": "p1"})
    assert isinstance(session, stripe.checkout.Session)
    assert (session.status, session.payment_status) == ("open", "unpaid")
    assert (session.amount_total, session.currency) == (2500, "usd")
    assert session.url == f"{shared.url}/c/pay/{session.id}"
    assert session.payment_intent is None


def test_paying_leads_back_with_the_sessions_id(shared: Server) -> None:
    session = shared.session()
    answer = shared.pay(session)
    assert answer.status_code == 303
    assert answer.headers["location"] == f"http://127.0.0.1:9/paid?session={session.id}"


def test_a_paid_session_holds_intent_charge_and_fee(shared: Server) -> None:
    customer = shared.client.v1.customers.create({"email": "team@example.org"})
    session = shared.session(
        customer=customer.id, payment_intent_data={"metadata": {"payment": "p1"}}
    )
    shared.pay(session)
    read = shared.client.v1.checkout.sessions.retrieve(
        session.id, {"expand": ["payment_intent.latest_charge.balance_transaction", "line_items"]}
    )
    assert (read.status, read.payment_status) == ("complete", "paid")
    intent = read.payment_intent
    assert isinstance(intent, stripe.PaymentIntent)
    assert (intent.status, intent.amount_received) == ("succeeded", 2500)
    assert (intent.customer, intent.metadata["payment"]) == (customer.id, "p1")
    charge = intent.latest_charge
    assert isinstance(charge, stripe.Charge)
    assert charge.payment_method_details is not None
    assert charge.payment_method_details["card"]["last4"] == "4242"
    money = charge.balance_transaction
    assert isinstance(money, stripe.BalanceTransaction)
    assert (money.amount, money.fee, money.net) == (2500, 103, 2397)
    assert read.line_items is not None
    assert read.line_items.data[0].quantity == 2


def test_no_card_number_is_kept(start: Starter, tmp_path: Path) -> None:
    server = start()
    server.pay(server.session(), number="4242424242424242")
    kept = b"".join(path.read_bytes() for path in (tmp_path / "stripe").iterdir())
    assert b"charge.succeeded" in kept
    assert b"4242424242" not in kept


def test_a_decline_keeps_the_input_and_the_session_open(shared: Server) -> None:
    session = shared.session()
    answer = shared.pay(session, number="4000 0000 0000 9995")
    assert answer.status_code == 402
    assert "Your card has insufficient funds." in answer.text
    assert 'value="4000 0000 0000 9995"' in answer.text
    read = shared.client.v1.checkout.sessions.retrieve(session.id, {"expand": ["payment_intent"]})
    assert (read.status, read.payment_status) == ("open", "unpaid")
    assert isinstance(read.payment_intent, stripe.PaymentIntent)
    assert read.payment_intent.last_payment_error is not None
    assert read.payment_intent.last_payment_error["decline_code"] == "insufficient_funds"


def test_after_a_decline_another_card_pays_the_same_intent(shared: Server) -> None:
    session = shared.session()
    shared.pay(session, number="4000 0000 0000 0002")
    first = shared.client.v1.checkout.sessions.retrieve(session.id).payment_intent
    assert shared.pay(session).status_code == 303
    assert shared.client.v1.checkout.sessions.retrieve(session.id).payment_intent == first


@pytest.mark.parametrize(
    "typed", [{"email": "nobody"}, {"number": ""}, {"expiry": ""}, {"cvc": ""}, {"name": " "}]
)
def test_a_missing_field_is_told_at_the_field(shared: Server, typed: dict[str, str]) -> None:
    answer = shared.pay(shared.session(), **typed)
    assert answer.status_code == 422
    assert f'id="{next(iter(typed))}-error"' in answer.text


def test_eight_submits_at_once_pay_once(start: Starter) -> None:
    server = start()
    session = server.session()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: server.pay(session), range(8)))
    assert {answer.status_code for answer in answers} == {303}
    assert len(server.client.v1.charges.list().data) == 1


def test_an_expired_session_cannot_be_paid(shared: Server) -> None:
    session = shared.session()
    assert shared.client.v1.checkout.sessions.expire(session.id).status == "expired"
    assert shared.pay(session).status_code == 410
    assert "expired" in page(shared, session).text
    with pytest.raises(stripe.InvalidRequestError):
        shared.client.v1.checkout.sessions.expire(session.id)


def test_a_session_expires_by_itself(start: Starter, receiver: Receiver) -> None:
    server = start(receiver.url)
    session = server.session()
    server.advance(24 * 3600)
    assert server.pay(session).status_code == 410
    until(lambda: "checkout.session.expired" in receiver.types(), "the expiry is told")


def test_the_page_escapes_what_the_portal_sent(shared: Server) -> None:
    text = page(shared, shared.session()).text
    assert "Credit &lt;b&gt;&amp; more&lt;/b&gt; &times; 2" in text
    assert "$25.00" in text
    assert "TEST MODE: no real money." in text


def test_the_page_forbids_scripts_and_foreign_parts(shared: Server) -> None:
    answer = page(shared, shared.session())
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'; style-src 'self'" in policy
    assert "form-action 'self' http://127.0.0.1:9" in policy
    assert "<script" not in answer.text
    assert "style=" not in answer.text


@pytest.mark.parametrize(
    "params",
    [
        {"success_url": "javascript:alert(1)"},
        {"success_url": ""},
        {"mode": "subscription"},
        {"line_items": []},
        {"customer": "cus_nobody"},
        {"expires_at": 1},
        {"payment_method_types": ["klarna"]},
    ],
)
def test_bad_sessions_are_refused(shared: Server, params: dict[str, object]) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        shared.session(**params)
    assert caught.value.http_status == 400


@pytest.mark.parametrize("amount", [-1, 0, 49, 100_000_000, 9 * 10**18])
def test_bad_amounts_are_refused(shared: Server, amount: int) -> None:
    data = {"currency": "usd", "unit_amount": amount, "product_data": {"name": "x"}}
    with pytest.raises(stripe.InvalidRequestError):
        shared.session(line_items=[{"quantity": 1, "price_data": data}])


def test_the_balance_is_pending_then_available(start: Starter) -> None:
    server = start()
    server.pay(server.session())
    balance = server.client.v1.balance.retrieve()
    assert (balance.pending[0].amount, balance.available[0].amount) == (2397, 0)
    server.advance(3 * 24 * 3600)
    balance = server.client.v1.balance.retrieve()
    assert (balance.pending[0].amount, balance.available[0].amount) == (0, 2397)


def test_refunds_stop_at_what_was_paid(start: Starter) -> None:
    server = start()
    session = server.session()
    server.pay(session)
    intent = str(server.client.v1.checkout.sessions.retrieve(session.id).payment_intent)
    refunds = server.client.v1.refunds
    assert refunds.create({"payment_intent": intent, "amount": 1000}).status == "succeeded"
    with pytest.raises(stripe.InvalidRequestError, match="greater than unrefunded"):
        refunds.create({"payment_intent": intent, "amount": 1501})
    refunds.create({"payment_intent": intent})
    with pytest.raises(stripe.InvalidRequestError) as caught:
        refunds.create({"payment_intent": intent})
    assert caught.value.code == "charge_already_refunded"
    sums = [entry.net for entry in server.client.v1.balance_transactions.list().data]
    assert sums == [-1500, -1000, 2397]


def test_a_payment_is_told_by_signed_events(start: Starter, receiver: Receiver) -> None:
    server = start(receiver.url)
    server.pay(server.session())
    until(lambda: len(receiver.got) == 4, "four webhooks")
    assert receiver.types() == [*PAID, "checkout.session.completed"]
    last = receiver.events()[-1]
    assert (last.object, last.livemode, last.pending_webhooks) == ("event", False, 1)
    assert last.data.object["payment_status"] == "paid"
    events = server.client.v1.events
    until(lambda: events.retrieve(last.id).pending_webhooks == 0, "delivery is noted")


def test_an_event_names_the_request_that_caused_it(start: Starter, receiver: Receiver) -> None:
    server = start(receiver.url)
    server.post("/v1/customers", {}, **{"Idempotency-Key": "k1"})
    until(lambda: bool(receiver.got), "a webhook")
    request = receiver.events()[0].request
    assert request is not None
    assert request.idempotency_key == "k1"


def test_a_delivery_is_repeated_until_2xx(start: Starter, receiver: Receiver) -> None:
    receiver.statuses += [500, 302, 404]
    server = start(receiver.url)
    server.client.v1.customers.create({})
    until(lambda: len(receiver.got) == 4, "three failures and a success")
    assert len({body for body, _ in receiver.got}) == 1
    event = receiver.events()[0].id
    until(
        lambda: server.client.v1.events.retrieve(event).pending_webhooks == 0, "delivery is noted"
    )


def test_deliveries_go_on_after_a_kill(start: Starter, receiver: Receiver) -> None:
    receiver.statuses += [503] * 3
    server = start(receiver.url, "--retry-base", "3600")
    server.client.v1.customers.create({})
    until(lambda: len(receiver.got) == 1, "the first attempt")
    server.kill()
    receiver.statuses.clear()
    server.start()
    server.advance(3601)
    until(lambda: len(receiver.got) >= 2, "an attempt after the restart")
    assert receiver.types()[-1] == "customer.created"


@pytest.mark.browser
def test_the_page_pays_in_a_browser_without_javascript(start: Starter, browser: Browser) -> None:
    server = start()
    session = server.session(success_url=f"{server.url}/healthz?s={{CHECKOUT_SESSION_ID}}")
    context = browser.new_context(java_script_enabled=False, viewport={"width": 390, "height": 844})
    tab = context.new_page()
    tab.goto(str(session.url))
    for label, text in (
        ("Email", "ada@example.org"),
        ("Card number", "4000000000000002"),
        ("Expiry", "1240"),
        ("Security code", "123"),
        ("Name on card", "Ada"),
    ):
        tab.get_by_label(label).fill(text)
    tab.get_by_role("button", name="Pay $25.00").click()
    expect(tab.get_by_text("Your card was declined.")).to_be_visible()
    tab.get_by_label("Card number").fill("4242424242424242")
    tab.get_by_role("button", name="Pay $25.00").click()
    tab.wait_for_url(f"**/healthz?s={session.id}")
    context.close()
