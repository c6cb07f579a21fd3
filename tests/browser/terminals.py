"""A terminal in work that runs, as a browser has it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.shooting import OUT, WIDTHS, sign_in
from tests.stacks.developer import Developer, until
from tests.stacks.portal import Stack

PATIENCE_MS = 60_000
SHOWS_COLOURS = (
    "clear; printf 'epoch 12 \\033[32mok\\033[0m \\033[31mbad\\033[0m \\033[33mwarn\\033[0m "
    "\\033[34minfo\\033[0m \\033[35mmag\\033[0m \\033[36mcyan\\033[0m \\033[37mwhite\\033[0m "
    "\\033[1;32mbold\\033[0m \\033[7mreverse\\033[0m\\n'; ls -la --color=always /; stty size"
)


@contextmanager
def a_job_that_runs(developer: Developer) -> Iterator[str]:
    """One that waits; cancelled in the end."""
    job = developer.launch("sleep 600", time_limit_seconds=900)
    until(lambda: developer.job(job)["status"] == "running")
    try:
        yield job
    finally:
        developer.http.post(f"/jobs/{job}/cancel")


def open_terminal(page: Page, url: str) -> Page:
    """The tab that the button of a run's page opens, once its shell is there."""
    page.goto(url)
    with page.expect_popup() as opened:
        page.locator("#terminal-button").click()
    tab = opened.value
    tab.set_default_timeout(PATIENCE_MS)
    tab.wait_for_url("http://term-*.apps.localhost:*/")
    shows(tab, "$")
    return tab


def screen(tab: Page) -> Locator:
    """The lines it shows."""
    return tab.locator(".xterm-rows")


def shows(tab: Page, what: str | re.Pattern[str]) -> None:
    """It comes to stand on the screen."""
    expect(screen(tab)).to_contain_text(what, timeout=PATIENCE_MS)


def type_in(tab: Page, line: str) -> None:
    """One line and Enter, once the screen shows what the line ends with."""
    tab.locator(".xterm-helper-textarea").focus()
    tab.keyboard.type(line)
    shows(tab, line[-4:])
    tab.keyboard.press("Enter")


def take_terminals(browser: Browser, stack: Stack) -> None:
    """At work, after its shell has ended, and after its job has."""
    with Developer(stack) as developer:
        for theme in ("light", "dark"):
            for width in WIDTHS:
                name = f"{theme}-{width}.png"
                context = browser.new_context(
                    color_scheme="light" if theme == "light" else "dark",
                    viewport={"width": width, "height": 844 if width == 390 else 900},
                    has_touch=width == 390,
                )
                page = context.new_page()
                sign_in(page, stack)
                with a_job_that_runs(developer) as job:
                    tab = open_terminal(page, f"{stack.url}/jobs/{job}/")
                    type_in(tab, SHOWS_COLOURS)
                    shows(tab, "usr")
                    page.screenshot(path=OUT / f"terminal-button-{name}")
                    tab.screenshot(path=OUT / f"terminal-{name}")
                    type_in(tab, "exit")
                    tab.get_by_role("button", name="New shell").wait_for()
                    tab.screenshot(path=OUT / f"terminal-shell-ended-{name}")
                tab.get_by_text("What ran here has ended").wait_for()
                tab.screenshot(path=OUT / f"terminal-ended-{name}")
                page.goto(f"{stack.url}/jobs/{job}/terminal/")
                page.screenshot(path=OUT / f"terminal-none-{name}")
                context.close()
