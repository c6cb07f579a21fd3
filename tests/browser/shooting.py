"""Takes pages as pictures, light and dark, phone and desk."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Browser, Page

from tests.stacks.portal import ROOT, Stack

OUT = ROOT / "build" / "screenshots"
WIDTHS = (390, 1440)


def shoot(
    browser: Browser,
    stack: Stack,
    pages: dict[str, str],
    *,
    signed_in: bool = False,
    prepare: Callable[[Page], None] = lambda page: None,
) -> None:
    """Each page in each theme and width, once `prepare` has done what it does there."""
    for theme in ("light", "dark"):
        context = browser.new_context(color_scheme="light" if theme == "light" else "dark")
        page = context.new_page()
        if signed_in:
            sign_in(page, stack)
        for name, path in pages.items():
            for width in WIDTHS:
                page.set_viewport_size({"width": width, "height": 844 if width == 390 else 900})
                page.goto(path if path.startswith("http") else stack.url + path)
                if name.startswith("job-") or name in {"metrics", "notebook-ready"}:
                    page.locator(".js-plotly-plot:visible").first.wait_for(timeout=20_000)
                prepare(page)
                page.screenshot(path=OUT / f"{name}-{theme}-{width}.png", full_page=True)
        context.close()


def sign_in(page: Page, stack: Stack) -> None:
    """As the demo's owner."""
    page.goto(f"{stack.url}/account/login/")
    page.locator("input[name=login]").fill(stack.demo["owner_email"])
    page.locator("input[name=password]").fill(stack.demo["owner_password"])
    page.locator("main button[type=submit]").click()
    page.wait_for_url(f"{stack.url}/dashboard/")
