"""A run that fails once and is run again, as somebody who watches it sees it."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.files import put
from tests.browser.shooting import sign_in
from tests.stacks.developer import Developer
from tests.stacks.portal import Stack

pytestmark = [pytest.mark.browser, pytest.mark.stack, pytest.mark.timeout(200)]
COMMAND = """
for line in 1 2 3 4; do echo "attempt $FASTGPU_ATTEMPT line $line"; sleep 0.5; done
until [ -e go ]; do sleep 0.1; done
test "$FASTGPU_ATTEMPT" -gt 1
"""


def test_the_page_follows_from_one_attempt_to_the_next(stack: Stack, browser: Browser) -> None:
    page = browser.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    sign_in(page, stack)
    with Developer(stack) as developer:
        asked = {"name": "for-retries", "size_gib": 1}
        volume = developer.http.post("/volumes", json=asked).json()["id"]
        more = {"retries": 1, "environment": "system", "volume": volume}
        job = developer.launch(COMMAND, name="flaky", **more)
        page.goto(f"{stack.url}/jobs/{job}/#log")
        lines = page.locator("#log-lines")
        expect(lines).to_contain_text("attempt 1 line 1")
        put(developer, volume, "go", b"")
    expect(lines).to_contain_text("attempt 2 line 4")
    expect(lines).not_to_contain_text("attempt 1")
    expect(page.locator("#L1")).to_contain_text("attempt 2 line 1")
    expect(page.locator("#run-facts")).to_contain_text("Succeeded")

    page.get_by_role("tab", name="Attempts 2").click()
    rows = page.locator(".run-attempts tbody tr")
    expect(rows).to_have_count(2)
    expect(rows.first).to_contain_text("The command ended with an error")
    expect(rows.first).to_contain_text("Run again: retry 1 of 1")
    rows.first.get_by_role("link", name="Log").click()
    expect(lines).to_contain_text("attempt 1 line 4")
    expect(lines).not_to_contain_text("attempt 2")
    page.close()
    assert not errors
