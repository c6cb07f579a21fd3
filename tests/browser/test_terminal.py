"""A terminal in a job, in Chromium: one click, a shell that stays, and what is said at its end."""

from __future__ import annotations

import re
from collections.abc import Iterator

import psycopg
import pytest
from playwright.sync_api import Browser, BrowserContext, expect

from clusters.examples import DIGITS
from tests.browser.shooting import sign_in
from tests.browser.terminals import (
    PATIENCE_MS,
    a_job_that_runs,
    open_terminal,
    screen,
    shows,
    type_in,
)
from tests.stacks.developer import Developer, until
from tests.stacks.portal import Stack

pytestmark = [pytest.mark.browser, pytest.mark.stack, pytest.mark.timeout(400)]
COUNT_DOWN = """
UPDATE clusters_notebook n SET stops_at = now() + interval '9 minutes', stops_for = 'idle'
FROM clusters_workload w WHERE w.id = n.workload_id AND w.public_id = %s
"""
SIZE = re.compile(r"rows=(\d+) (\d+)")


@pytest.fixture
def context(browser: Browser, stack: Stack) -> Iterator[BrowserContext]:
    """A browser in which the demo's owner is signed in."""
    context = browser.new_context(viewport={"width": 1200, "height": 700})
    context.set_default_timeout(60_000)
    sign_in(context.new_page(), stack)
    yield context
    context.close()


def test_a_shell_in_a_job_follows_the_window_and_outlives_its_tab(
    stack: Stack, context: BrowserContext, developer: Developer
) -> None:
    with a_job_that_runs(developer) as job:
        page = context.new_page()
        tab = open_terminal(page, f"{stack.url}/jobs/{job}/")
        complaints: list[str] = []
        tab.on("console", lambda told: complaints.append(told.text))
        type_in(tab, "echo $((6*7))")
        shows(tab, "42")

        type_in(tab, "clear; echo rows=$(stty size)")
        shows(tab, SIZE)
        tab.set_viewport_size({"width": 600, "height": 400})
        size = SIZE.search(screen(tab).inner_text())
        assert size is not None
        type_in(tab, "clear; echo again: rows=$(stty size)")
        shows(tab, re.compile(r"again: rows=\d"))
        smaller = re.search(r"again: rows=(\d+) (\d+)", screen(tab).inner_text())
        assert smaller is not None
        assert int(smaller[1]) < int(size[1])
        assert int(smaller[2]) < int(size[2])

        type_in(tab, "kept=$((7*191))")
        tab.close()
        tab = open_terminal(page, f"{stack.url}/jobs/{job}/")
        type_in(tab, "echo kept $kept")
        shows(tab, "kept 1337")
        assert [told for told in complaints if "Content Security Policy" in told] == []


def test_what_ended_is_said_and_a_shell_that_ended_is_followed_by_another(
    stack: Stack, context: BrowserContext, developer: Developer
) -> None:
    with a_job_that_runs(developer) as job:
        tab = open_terminal(context.new_page(), f"{stack.url}/jobs/{job}/")
        type_in(tab, "exit")
        tab.get_by_text("The shell has ended.").wait_for()
        tab.get_by_role("button", name="New shell").click()
        type_in(tab, "echo $((6*9))")
        shows(tab, "54")
        expect(tab.get_by_text("The shell has ended.")).to_be_hidden()
    tab.get_by_text("What ran here has ended").wait_for()
    tab.get_by_role("link", name="Go to its page").click()
    tab.wait_for_url(f"{stack.url}/jobs/{job}/terminal/")
    expect(tab.get_by_text("only what runs has a terminal")).to_be_visible()


def test_a_server_that_is_gone_is_started_again_unasked(
    stack: Stack, context: BrowserContext, developer: Developer
) -> None:
    with a_job_that_runs(developer) as job:
        tab = open_terminal(context.new_page(), f"{stack.url}/jobs/{job}/")
        type_in(tab, "old=1; kill -9 $PPID")
        # A new shell begins on an empty screen.
        expect(screen(tab)).not_to_contain_text("kill", timeout=PATIENCE_MS)
        shows(tab, "$")
        type_in(tab, "echo new shell: $((old+41))")
        shows(tab, "new shell: 41")


def test_a_phone_has_the_keys_that_its_keyboard_lacks(
    stack: Stack, browser: Browser, developer: Developer
) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True)
    context.set_default_timeout(60_000)
    page = context.new_page()
    sign_in(page, stack)
    with a_job_that_runs(developer) as job:
        tab = open_terminal(page, f"{stack.url}/jobs/{job}/")
        type_in(tab, "sleep 500")
        tab.get_by_role("button", name="Ctrl").tap()
        tab.keyboard.type("c")
        shows(tab, "^C")
        tab.keyboard.type("ech")
        tab.get_by_role("button", name="Tab").tap()
        shows(tab, "echo")
        tab.keyboard.type("$((6*7))")
        tab.get_by_role("button", name="Left").tap()
        tab.get_by_role("button", name="Left").tap()
        tab.keyboard.type("0")
        tab.keyboard.press("Enter")
        shows(tab, "420")
    context.close()


def test_the_terminal_of_a_notebook_says_when_it_will_stop(
    stack: Stack, context: BrowserContext, developer: Developer
) -> None:
    body = {"name": "looked-into", "pool": "a100", "gpus": 1, "environment": DIGITS.environment}
    notebook = developer.http.post("/notebooks", json=body).json()["id"]
    until(lambda: developer.http.get(f"/notebooks/{notebook}").json()["status"] == "running")
    tab = open_terminal(context.new_page(), f"{stack.url}/notebooks/{notebook}/")
    type_in(tab, "python -c 'import jupyterlab; print(6*7)'")
    shows(tab, "42")
    with psycopg.connect(stack.database_url) as connection:
        connection.execute(COUNT_DOWN, [notebook])
    tab.get_by_text("nothing was done in it").wait_for()
    tab.get_by_role("button", name="Keep 1 h").click()
    expect(tab.get_by_text("nothing was done in it")).to_be_hidden()
    developer.http.post(f"/notebooks/{notebook}/stop")
    tab.get_by_text("What ran here has ended").wait_for()
