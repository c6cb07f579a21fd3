"""JupyterLab as somebody uses it through the proxy, in Chromium, until its countdown's end."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.shooting import sign_in
from tests.stacks.developer import Developer, until
from tests.stacks.environments import prepared
from tests.stacks.portal import Stack

pytestmark = [pytest.mark.browser, pytest.mark.stack, pytest.mark.timeout(500)]
SLOW_MS = 90_000
COUNT_DOWN = """
UPDATE clusters_notebook n SET stops_at = now() + interval '9 minutes', stops_for = 'idle'
FROM clusters_workload w WHERE w.id = n.workload_id AND w.public_id = %s
"""


@pytest.fixture
def database(stack: Stack) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """The stack's own."""
    with psycopg.connect(stack.database_url, autocommit=True) as database:
        yield database


@pytest.fixture
def notebook(
    stack: Stack, developer: Developer, database: psycopg.Connection[tuple[object, ...]]
) -> str:
    """The demo owner's, whose server answers."""
    folder = stack.var / "environments"
    folder.mkdir(exist_ok=True)
    (folder / "lab").symlink_to(prepared("lab") / "lab")
    database.execute("UPDATE clusters_pool SET environments = environments || '{lab}'::varchar[]")
    body = {"name": "browsed", "pool": "a100", "gpus": 1, "environment": "lab"}
    made = developer.http.post("/notebooks", json=body)
    assert made.status_code == 201, made.text
    found: str = made.json()["id"]
    name = found.replace("_", "-")
    ready = "SELECT 1 FROM clusters_app WHERE name = %s AND state = 'ready'"
    until(lambda: database.execute(ready, (name,)).fetchone(), seconds=120)
    return found


def test_from_the_first_cell_to_stop_now(
    stack: Stack,
    browser: Browser,
    notebook: str,
    database: psycopg.Connection[tuple[object, ...]],
) -> None:
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    sign_in(page, stack)
    page.goto(f"{stack.url}/open/{notebook.replace('_', '-')}/")

    run_a_cell(page)
    countdown = page.locator("fastgpu-countdown")
    expect(countdown).to_be_hidden()
    keep_it(page, database, notebook)
    stop_it(page, database, notebook)
    page.close()


def run_a_cell(page: Page) -> None:
    """A new notebook whose kernel answers, over its WebSocket."""
    page.locator(".jp-LauncherCard[data-category='Notebook']").first.click(timeout=SLOW_MS)
    cell = page.locator(".jp-Notebook .jp-Cell .cm-content").first
    cell.click(timeout=SLOW_MS)
    page.keyboard.type("6 * 7")
    page.keyboard.press("Shift+Enter")
    expect(page.locator(".jp-OutputArea-output").first).to_contain_text("42", timeout=SLOW_MS)


def keep_it(page: Page, database: psycopg.Connection[tuple[object, ...]], notebook: str) -> None:
    """The countdown shows as soon as there is one, and goes when the notebook is kept."""
    database.execute(COUNT_DOWN, (notebook,))
    countdown = page.locator("fastgpu-countdown")
    expect(countdown).to_contain_text("nothing was done in it", timeout=10_000)
    expect(countdown.get_by_role("timer")).to_contain_text("8 min")
    countdown.get_by_role("button", name="Keep 1 h").click()
    expect(countdown).to_contain_text("Kept for an hour", timeout=10_000)
    expect(countdown).to_be_hidden(timeout=15_000)


def stop_it(page: Page, database: psycopg.Connection[tuple[object, ...]], notebook: str) -> None:
    """Asked once more, then it stops, and its page says so."""
    database.execute(COUNT_DOWN, (notebook,))
    countdown = page.locator("fastgpu-countdown")
    countdown.get_by_role("button", name="Stop now").click(timeout=10_000)
    countdown.get_by_role("button", name="Stop", exact=True).click()
    expect(countdown).to_contain_text("This notebook was stopped", timeout=SLOW_MS)
    expect(countdown.get_by_role("link", name="Go to its page")).to_be_visible()
