"""Stripe's deliveries: how soon each is acknowledged, and a payment is credit on the page."""

from __future__ import annotations

import json
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import httpx

from billing.sandbox.webhooks import signature
from tests.bench.log_latency import sign_in
from tests.bench.stack import Stack
from tests.bench.table import Figure, percentile
from tests.billing.sandbox.harness import GOOD_CARD

PAYMENTS = 30
DELIVERIES = 400
CALLERS = 4
DOLLARS = 5
GOAL_ACK_SECONDS = 0.2
GOAL_CREDIT_SECONDS = 2.0
GIVE_UP_SECONDS = 60.0


def measure(stack: Stack) -> list[Figure]:
    """Payments one after the other; then deliveries that name them, some at a time."""
    visible = [_pay(stack, cookie) for cookie in [sign_in(stack)] * PAYMENTS]
    acks = _deliver(stack)
    ack, credit = percentile(acks, 0.95), percentile(visible, 0.95)
    return [
        Figure(
            f"webhook acknowledged, {CALLERS} at a time",
            f"p50 {percentile(acks, 0.5) * 1000:.0f} ms, p95 {ack * 1000:.0f} ms",
            "-",
            "-",
            f"p95 < {GOAL_ACK_SECONDS * 1000:.0f} ms",
            ack < GOAL_ACK_SECONDS,
        ),
        Figure(
            "paid at Stripe to credit visible",
            f"p50 {percentile(visible, 0.5):.2f} s, p95 {credit:.2f} s",
            "-",
            "-",
            f"p95 < {GOAL_CREDIT_SECONDS:.0f} s",
            credit < GOAL_CREDIT_SECONDS,
        ),
    ]


def _pay(stack: Stack, cookie: str) -> float:
    """Seconds from the payment to the credit; the payer closes the window and never returns."""
    with httpx.Client(base_url=stack.url, headers={"Cookie": cookie}) as browser:
        page = browser.get("/billing/top-up/")
        token = page.cookies.get("csrftoken") or ""
        answer = browser.post(
            "/billing/top-up/",
            data={"amount": str(DOLLARS), "csrfmiddlewaretoken": token},
            headers={"Cookie": f"{cookie}; csrftoken={token}"},
        )
    if answer.status_code != 303:
        raise RuntimeError(f"the top-up was refused: {answer.status_code}")
    with stack.api() as api:
        wanted = _balance(api) + DOLLARS * 1_000_000
        paid = httpx.post(answer.headers["location"], data=GOOD_CARD, timeout=30)
        began = time.monotonic()
        if paid.status_code != 303:
            raise RuntimeError(f"the card was refused: {paid.status_code}")
        while _balance(api) < wanted:
            if time.monotonic() - began > GIVE_UP_SECONDS:
                raise RuntimeError("the credit never came")
        return time.monotonic() - began


def _balance(api: httpx.Client) -> int:
    return int(api.get("/billing/balance").json()["balance_micros"])


def _deliver(stack: Stack) -> list[float]:
    """Seconds each delivery took; every one is of a new event about a payment that is settled."""
    rows = stack.ask(
        "SELECT public_id, payment_intent_id FROM billing_payment WHERE payment_intent_id <> ''"
    )
    secret = stack.secret("STRIPE_WEBHOOK_SECRET")

    def deliver(number: int) -> float:
        reference, intent = rows[number % len(rows)]
        found = {"id": intent, "object": "payment_intent", "metadata": {"payment": reference}}
        event = {
            "id": f"evt_{uuid.uuid4().hex}",
            "type": "payment_intent.succeeded",
            "data": {"object": found},
        }
        body = json.dumps(event).encode()
        headers = {"Stripe-Signature": signature(secret, int(time.time()), body)}
        began = time.monotonic()
        answer = client.post("/webhooks/stripe/", content=body, headers=headers)
        if answer.status_code != 200:
            raise RuntimeError(f"a delivery was refused: {answer.text[:300]}")
        return time.monotonic() - began

    # One client for all: making one reads every certificate there is, which answers nothing.
    with (
        httpx.Client(base_url=stack.url, timeout=30) as client,
        ThreadPoolExecutor(CALLERS) as pool,
    ):
        return list(pool.map(deliver, range(DELIVERIES)))
