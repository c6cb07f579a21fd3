"""Cards, automatic top-up and refunds, as people meet them."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.money import (
    ALWAYS_ASKS,
    GOOD,
    save_card,
    top_up,
    turn_on_auto_top_up,
    wait_for_the_bank,
)
from tests.browser.shooting import sign_in
from tests.stacks.portal import Stack

pytestmark = [pytest.mark.browser, pytest.mark.stack, pytest.mark.timeout(400)]


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A browser nobody has used yet."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    yield context.new_page()
    context.close()


def test_card_is_saved_charged_by_itself_confirmed_and_refunded(page: Page, stack: Stack) -> None:
    """A bank that wants its customer back is answered from the page that asks for it."""
    sign_in(page, stack)
    save_card(page, stack, ALWAYS_ASKS)
    turn_on_auto_top_up(page, stack, threshold=70, amount=40)
    wait_for_the_bank(page, stack)
    expect(page.locator("main")).to_contain_text("Paused")
    page.get_by_role("link", name="Confirm it").click()
    page.get_by_role("button", name="Confirm at the bank").click()
    page.get_by_role("button", name="It is me").click()
    page.wait_for_url(re.compile(r"/billing/payments/"))
    expect(page.locator("main")).to_contain_text("Paid")
    page.goto(f"{stack.url}/billing/cards/")
    page.get_by_role("button", name="Turn off").click()
    save_card(page, stack, GOOD)
    top_up(page, stack, 25)
    page.goto(f"{stack.url}/billing/payments/")
    page.get_by_role("link", name="Top-up", exact=True).first.click()
    page.get_by_label("Amount").fill("10")
    page.get_by_role("button", name="Refund").click()
    expect(page.locator("body")).to_contain_text("Refunded. It is on the card")
