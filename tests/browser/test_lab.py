"""JupyterLab in Chromium, closed in mid-cell."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.contracts.backend import wait_for
from tests.sdk.lab import TOKEN, Lab, lab

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
LINES = 80
PRINTS = f"import time\nfor n in range({LINES}): print('line', n, flush=True); time.sleep(0.1)"
ALL = "".join(f"line {n}\n" for n in range(LINES))
PATIENCE_MS = 45_000
KERNEL_IS_THERE = re.compile(r"Python 3.* \| (Idle|Busy)")


def open_notebook(browser: Browser, server: Lab, name: str) -> Page:
    """A page of its own browser, as far as cookies go, with the notebook open."""
    page = browser.new_context().new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.goto(f"{server.url}/lab/tree/{name}?reset&token={TOKEN}")
    page.locator(".jp-Notebook .jp-CodeCell").first.wait_for()
    # What is run before its kernel is there JupyterLab forgets.
    page.get_by_role("button", name=KERNEL_IS_THERE).wait_for()
    return page


def test_what_is_printed_while_the_browser_is_closed_is_there_on_return(
    browser: Browser, tmp_path: Path
) -> None:
    with lab(tmp_path) as server:
        server.write("a.ipynb", PRINTS, "print('second')")
        page = open_notebook(browser, server, "a.ipynb")
        outputs = page.locator(".jp-CodeCell .jp-OutputArea-output")
        wait_for(server.has_pages, 60)
        page.locator(".jp-CodeCell .cm-content").first.click()
        page.keyboard.press("Shift+Enter")
        page.keyboard.press("Shift+Enter")
        expect(outputs.first).to_contain_text("line 5\n", timeout=PATIENCE_MS)
        page.context.close()
        assert "line 79" not in server.printed("a.ipynb")
        wait_for(lambda: server.printed("a.ipynb", 1) == "second\n", 60)
        assert server.printed("a.ipynb") == ALL
        page = open_notebook(browser, server, "a.ipynb")
        shown = page.locator(".jp-CodeCell .jp-OutputArea-output pre").first
        expect(shown).to_have_text(ALL, timeout=PATIENCE_MS)
        page.context.close()
        assert server.printed("a.ipynb") == ALL
