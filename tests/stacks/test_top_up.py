"""A payment on a real stack, told by the payment provider alone."""

from __future__ import annotations

import httpx
import pytest

from tests.billing.sandbox.harness import GOOD_CARD
from tests.stacks.developer import Developer, ask_database, until
from tests.stacks.portal import Stack

pytestmark = [pytest.mark.stack, pytest.mark.timeout(400)]


def test_who_closes_the_payment_page_has_the_credit(stack: Stack, developer: Developer) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{stack.port}") as browser:
        demo = stack.demo
        browser.get("/account/login/")
        form = {"login": demo["owner_email"], "password": demo["owner_password"]}
        browser.post("/account/login/", data=form | _token(browser))
        browser.get("/billing/top-up/")
        answer = browser.post("/billing/top-up/", data={"amount": "5"} | _token(browser))
    assert httpx.post(answer.headers["location"], data=GOOD_CARD).status_code == 303
    paid = "SELECT status FROM billing_payment ORDER BY id DESC LIMIT 1"
    until(lambda: ask_database(stack, paid) == [("succeeded",)], seconds=20)


def _token(browser: httpx.Client) -> dict[str, str]:
    return {"csrfmiddlewaretoken": browser.cookies["csrftoken"]}
