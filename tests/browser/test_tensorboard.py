"""TensorBoard beside a run: one click, through the proxy, and a curve."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, expect

from clusters.examples import DIGITS
from tests.browser.metrics import WRITES_SCALARS
from tests.browser.shooting import sign_in
from tests.stacks.developer import Developer
from tests.stacks.portal import Stack

pytestmark = [pytest.mark.browser, pytest.mark.stack, pytest.mark.timeout(400)]
PATIENCE_MS = 90_000


def test_one_click_shows_what_a_run_writes_while_it_runs(
    stack: Stack, browser: Browser, developer: Developer
) -> None:
    job = developer.launch(WRITES_SCALARS, environment=DIGITS.environment, time_limit_seconds=600)
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    sign_in(page, stack)
    page.goto(f"{stack.url}/jobs/{job}/#metrics")
    page.locator("#metrics-charts .js-plotly-plot").first.wait_for()
    with page.expect_popup() as opened:
        page.locator("#board-button").click()
    board = opened.value
    board.wait_for_url("**://tb-*.apps.localhost:*/**")
    expect(board.locator("tb-webapp")).to_contain_text("runs/adam", timeout=PATIENCE_MS)
    curve = board.locator("tb-webapp scalar-card line-chart").first
    expect(curve).to_be_visible(timeout=PATIENCE_MS)
    context.close()
    developer.http.post(f"/jobs/{job}/cancel")
