"""What people do about money in the browser, step by step."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from tests.stacks.developer import until
from tests.stacks.portal import Stack

GOOD = "4242 4242 4242 4242"
ALWAYS_ASKS = "4000 0027 6000 3184"


def type_card(page: Page, number: str, button: str) -> None:
    """Fill Stripe's page and go on."""
    if page.get_by_label("Email").is_editable():
        page.get_by_label("Email").fill("owner@example.org")
    page.get_by_label("Card number").fill(number)
    page.get_by_label("Expiry").fill("12 / 40")
    page.get_by_label("Security code").fill("123")
    page.get_by_label("Name on card").fill("N. Comer")
    page.get_by_role("button", name=button).click()


def save_card(page: Page, stack: Stack, number: str) -> None:
    """Add a card; answer its bank where it asks."""
    page.goto(f"{stack.url}/billing/cards/")
    page.get_by_role("button", name="Add a card").click()
    type_card(page, number, "Save the card")
    if number == ALWAYS_ASKS:
        page.get_by_role("button", name="It is me").click()
    page.wait_for_url(re.compile(r"/billing/cards/$"))
    expect(page.locator("main")).to_contain_text(f"•••• {number[-4:]}")


def turn_on_auto_top_up(page: Page, stack: Stack, *, threshold: int, amount: int) -> None:
    """The rule, as an owner types it."""
    page.goto(f"{stack.url}/billing/cards/")
    page.get_by_label("When less is available than").fill(str(threshold))
    page.get_by_label("Add", exact=True).fill(str(amount))
    page.get_by_role("button", name=re.compile("^(Turn on|Save)$")).click()
    expect(page.get_by_role("button", name="Turn off")).to_be_visible()


def top_up(page: Page, stack: Stack, amount: int) -> None:
    """Pay for credit at Stripe."""
    page.goto(f"{stack.url}/billing/top-up/?amount={amount}")
    page.get_by_role("button", name="Continue to payment").click()
    type_card(page, GOOD, f"Pay ${amount}.00")
    page.wait_for_url(re.compile(r"/billing/top-up/return/"))
    expect(page.get_by_role("heading", level=1)).to_contain_text("added")


def wait_for_the_bank(page: Page, stack: Stack) -> None:
    """Until the page says that a payment waits for its owner."""
    page.goto(f"{stack.url}/billing/cards/")
    link = page.get_by_role("link", name="Confirm it")
    until(lambda: page.reload() is not None and link.is_visible(), seconds=90)
