"""A notebook as somebody uses it: launched, worked in, left and found again, stopped when idle."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import httpx
import psycopg
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser import fixtures
from tests.browser.shooting import sign_in
from tests.stacks.developer import Developer, until
from tests.stacks.portal import Stack

pytestmark = [pytest.mark.browser, pytest.mark.stack, pytest.mark.timeout(600)]
PATIENCE_MS = 90_000
LINES = 60
PLOT = "import matplotlib.pyplot as plt\nplt.plot([1, 2, 4])\nplt.show()\n"
PRINTS = f"import time\nfor n in range({LINES}): print('line', n, flush=True); time.sleep(0.2)"
ALL = "".join(f"line {n}\n" for n in range(LINES))
COUNT_DOWN = """
UPDATE clusters_notebook n SET stops_at = now() + interval '9 minutes', stops_for = 'idle'
FROM clusters_workload w WHERE w.id = n.workload_id AND w.public_id = %s
"""
Database = psycopg.Connection[tuple[object, ...]]


@pytest.fixture(autouse=True)
def _patience() -> Iterator[None]:
    expect.set_options(timeout=PATIENCE_MS)
    yield
    expect.set_options(timeout=fixtures.PATIENCE_MS)


@pytest.fixture
def database(stack: Stack) -> Iterator[Database]:
    """The stack's own."""
    with psycopg.connect(stack.database_url, autocommit=True) as database:
        yield database


def signed_in(browser: Browser, stack: Stack) -> BrowserContext:
    """A browser of its own in which the demo's owner is signed in."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    sign_in(page, stack)
    page.close()
    return context


def launch(context: BrowserContext, stack: Stack) -> Page:
    """One click, and the tab in which JupyterLab has opened by itself."""
    page = context.new_page()
    page.goto(f"{stack.url}/notebooks/new/")
    page.get_by_label("Name", exact=True).fill("driven")
    page.get_by_role("button", name="Launch").click()
    page.wait_for_url("**.apps.localhost:*/lab*")
    return page


def run(page: Page, code: str) -> None:
    """Type into the last cell and run it."""
    page.locator(".jp-Notebook .jp-CodeCell .cm-content").last.click()
    page.keyboard.insert_text(code)
    page.keyboard.press("Shift+Enter")


def test_from_one_click_to_a_stop_that_was_announced(
    stack: Stack, browser: Browser, developer: Developer, database: Database
) -> None:
    context = signed_in(browser, stack)
    page = launch(context, stack)
    name = page.url.partition("://")[2].partition(".")[0]
    page.locator(".jp-LauncherCard[data-category='Notebook']").first.click()
    # What is run before its kernel is there JupyterLab forgets.
    expect(page.get_by_role("button", name="Python 3 (ipykernel) | Idle")).to_be_visible()
    run(page, PLOT)
    expect(page.locator(".jp-OutputArea-output img").first).to_be_visible()

    run(page, PRINTS)
    printed = page.locator(".jp-CodeCell .jp-OutputArea-output pre").last
    expect(printed).to_contain_text("line 3\n")
    os.kill(stack.pid_of("web"), signal.SIGKILL)
    expect(printed).to_contain_text("line 9\n")
    context.close()

    until(lambda: answers(stack), seconds=60)
    context = signed_in(browser, stack)
    page = context.new_page()
    page.goto(f"{stack.url}/open/{name}/?next=/lab/tree/Untitled.ipynb")
    expect(page.locator(".jp-OutputArea-output img").first).to_be_visible()
    shown = page.locator(".jp-CodeCell .jp-OutputArea-output pre").last
    expect(shown).to_have_text(ALL)

    notebook = name.replace("-", "_", 1)
    keep_it(page, database, notebook)
    stop_it(page, database, notebook)
    until(lambda: developer.http.get(f"/notebooks/{notebook}").json()["status"] == "stopped")
    context.close()


def answers(stack: Stack) -> bool:
    """Whether the web server that was killed is there again."""
    try:
        return httpx.get(f"{stack.url}/readyz").is_success
    except httpx.TransportError:
        return False


def keep_it(page: Page, database: Database, notebook: str) -> None:
    """The countdown shows as soon as there is one, and goes when the notebook is kept."""
    countdown = page.locator("fastgpu-countdown")
    expect(countdown).to_be_hidden()
    database.execute(COUNT_DOWN, (notebook,))
    expect(countdown).to_contain_text("nothing was done in it")
    expect(countdown.get_by_role("timer")).to_contain_text("8 min")
    countdown.get_by_role("button", name="Keep 1 h").click()
    expect(countdown).to_contain_text("Kept for an hour")
    expect(countdown).to_be_hidden()


def stop_it(page: Page, database: Database, notebook: str) -> None:
    """Asked once more, then it stops, and its page says so."""
    countdown = page.locator("fastgpu-countdown")
    database.execute(COUNT_DOWN, (notebook,))
    countdown.get_by_role("button", name="Stop now").click()
    countdown.get_by_role("button", name="Stop", exact=True).click()
    expect(countdown).to_contain_text("This notebook was stopped")
    expect(countdown.get_by_role("link", name="Go to its page")).to_be_visible()
