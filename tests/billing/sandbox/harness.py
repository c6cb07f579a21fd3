"""A sandbox process, and a receiver of its webhooks, for the tests."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import cast

import httpx
import stripe
from stripe.params.checkout import SessionCreateParams

from tests.ports import free_port

SECRET_KEY = "sk_test_suite"
WEBHOOK_SECRET = "whsec_suite"
GOOD_CARD = {
    "email": "ada@example.org",
    "number": "4242 4242 4242 4242",
    "expiry": "12 / 40",
    "cvc": "123",
    "name": "Ada Lovelace",
}


def until(condition: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    """Look every 20 ms until `condition` holds; fails with `what` after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"never happened: {what}")
        time.sleep(0.02)


@dataclass
class Receiver:
    """Answers webhooks with `statuses` in turn, then 200, and keeps what came."""

    statuses: list[int] = field(default_factory=list)
    got: list[tuple[bytes, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.got.append((body, self.headers["Stripe-Signature"]))
                self.send_response(outer.statuses.pop(0) if outer.statuses else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/billing/webhook?x=1"
        self._thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self._thread.start()

    def events(self) -> list[stripe.Event]:
        """What came, its signature checked by the real client."""
        return [
            stripe.Webhook.construct_event(body, sent, WEBHOOK_SECRET) for body, sent in self.got
        ]

    def types(self) -> list[str]:
        return [event.type for event in self.events()]

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()


class Server:
    """`python -m billing.sandbox` on a port of its own."""

    def __init__(self, state: Path, webhook_url: str = "", *options: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._command = [
            sys.executable, "-m", "billing.sandbox", "--port", str(self.port),
            "--state", str(state), "--webhook-url", webhook_url,
            "--secret-key", SECRET_KEY, "--webhook-secret", WEBHOOK_SECRET,
            "--retry-base", "0.05", *options,
        ]  # fmt: skip
        self.client = stripe.StripeClient(SECRET_KEY, base_addresses={"api": self.url})
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(self._command, env=os.environ | {"PYTHONPATH": "."})
        until(self._answers, "the sandbox answers /healthz")

    def _answers(self) -> bool:
        assert self.process.poll() is None, "the sandbox ended at start"
        try:
            return httpx.get(f"{self.url}/healthz").status_code == 200
        except httpx.TransportError:
            return False

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.kill()

    def post(self, path: str, data: dict[str, str], **headers: str) -> httpx.Response:
        auth = {"Authorization": f"Bearer {SECRET_KEY}"}
        return httpx.post(self.url + path, data=data, headers=auth | headers)

    def advance(self, seconds: int) -> None:
        assert self.post("/_sandbox/clock", {"advance": str(seconds)}).status_code == 200

    def session(self, **more: object) -> stripe.checkout.Session:
        params: dict[str, object] = {
            "mode": "payment",
            "success_url": "http://127.0.0.1:9/paid?session={CHECKOUT_SESSION_ID}",
            "cancel_url": "http://127.0.0.1:9/cancelled",
            "line_items": [
                {
                    "quantity": 2,
                    "price_data": {
                        "currency": "usd",
                        "unit_amount": 1250,
                        "product_data": {"name": "Credit <b>& more</b>"},
                    },
                }
            ],
        }
        return self.client.v1.checkout.sessions.create(cast(SessionCreateParams, params | more))

    def pay(self, session: stripe.checkout.Session, **typed: str) -> httpx.Response:
        return httpx.post(f"{self.url}/c/pay/{session.id}", data=GOOD_CARD | typed)
