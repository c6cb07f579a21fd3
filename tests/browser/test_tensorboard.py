"""TensorBoard beside a run or over a volume's folder: one click, through the proxy, and a curve."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from clusters.examples import DIGITS
from tests.browser.metrics import WRITES_SCALARS
from tests.browser.shooting import sign_in
from tests.stacks.developer import Developer
from tests.stacks.portal import Stack

pytestmark = [pytest.mark.browser, pytest.mark.stack, pytest.mark.timeout(400)]
PATIENCE_MS = 90_000


@pytest.fixture
def context(browser: Browser, stack: Stack) -> Iterator[BrowserContext]:
    """A browser in which the demo's owner is signed in."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    context.set_default_timeout(PATIENCE_MS)
    sign_in(context.new_page(), stack)
    yield context
    context.close()


def sees_curves(board: Page, run: str) -> None:
    """TensorBoard, on an origin of its own, names the run and draws."""
    board.wait_for_url("**://tb-*.apps.localhost:*/**")
    expect(board.locator("tb-webapp")).to_contain_text(run, timeout=PATIENCE_MS)
    curve = board.locator("tb-webapp scalar-card line-chart").first
    expect(curve).to_be_visible(timeout=PATIENCE_MS)


def test_one_click_shows_what_a_run_writes_while_it_runs(
    stack: Stack, context: BrowserContext, developer: Developer
) -> None:
    job = developer.launch(WRITES_SCALARS, environment=DIGITS.environment, time_limit_seconds=600)
    page = context.new_page()
    page.goto(f"{stack.url}/jobs/{job}/#metrics")
    page.locator("#metrics-charts .js-plotly-plot").first.wait_for()
    with page.expect_popup() as opened:
        page.locator("#board-button").click()
    sees_curves(opened.value, "runs/adam")
    developer.http.post(f"/jobs/{job}/cancel")


def test_metrics_are_found_by_a_part_of_their_name(
    stack: Stack, context: BrowserContext, developer: Developer
) -> None:
    job = developer.launch(WRITES_SCALARS, environment=DIGITS.environment, time_limit_seconds=600)
    page = context.new_page()
    page.goto(f"{stack.url}/jobs/{job}/#metrics")
    note, charts = page.locator("#metrics-note"), page.locator("#metrics-charts .chart:visible")
    expect(charts).to_have_count(3)
    page.locator("#metrics-find").fill("LOSS")
    expect(charts).to_have_count(2)
    expect(note).to_have_text("3 metrics.")
    page.locator("#metrics-find").fill("perplexity")
    expect(charts).to_have_count(0)
    expect(note).to_have_text("None of the metrics has “perplexity” in its name.")
    developer.http.post(f"/jobs/{job}/cancel")


def test_a_run_without_metrics_says_how_they_come_and_has_nothing_to_choose_from(
    stack: Stack, context: BrowserContext, developer: Developer
) -> None:
    job = developer.launch("sleep 600")
    page = context.new_page()
    page.goto(f"{stack.url}/jobs/{job}/#metrics")
    expect(page.locator("#metrics-none")).to_contain_text("No metrics")
    expect(page.locator("#metrics-none code")).to_contain_text("tensorboard.summary")
    expect(page.locator("#board-button")).to_be_visible()
    for field in ("find", "over", "smooth", "log"):
        expect(page.locator(f"#metrics-{field}")).to_be_hidden()
    developer.http.post(f"/jobs/{job}/cancel")


def test_one_click_shows_what_lies_in_a_folder_of_a_volume(
    stack: Stack, context: BrowserContext, developer: Developer
) -> None:
    volume = developer.http.post("/volumes", json={"name": "curves", "size_gib": 1}).json()["id"]
    job = developer.launch(
        f"cd /workspace\n{WRITES_SCALARS.replace('sleep 120', 'true')}",
        environment=DIGITS.environment,
        volume=volume,
    )
    assert developer.ended(job)["status"] == "succeeded", developer.log(job)
    page = context.new_page()
    page.goto(f"{stack.url}/volumes/{volume}/")
    page.get_by_label("What to do with runs").click()
    with page.expect_popup() as opened:
        page.get_by_role("button", name="TensorBoard").click()
    sees_curves(opened.value, "adam")
