"""`python -m tests.browser.screenshots`: every page, light and dark, phone and desk.

Starts a FastGPU of its own, lets it work a little, and writes PNGs to `docs/img` (the three of the
README) and `build/screenshots` (all). Parts can be asked for by name: `files`, `money`, `all`,
`notebooks`, `schedules`, `metrics`, `terminals`.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from clusters.examples import DIGITS
from tests.browser.files import take_files
from tests.browser.fixtures import CHROMIUM, FLAGS
from tests.browser.metrics import take_metrics
from tests.browser.money import ALWAYS_ASKS, GOOD, save_card, turn_on_auto_top_up, wait_for_the_bank
from tests.browser.schedules import take_schedules
from tests.browser.shooting import OUT, shoot, sign_in
from tests.browser.terminals import take_terminals
from tests.stacks.developer import Developer, until
from tests.stacks.portal import ROOT, Stack, running

README = {"home": "home", "job-running": "job", "billing": "billing"}


def main() -> int:
    """Take them all."""
    OUT.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="fgs-"))
    try:
        with running(folder / "var") as stack, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            parts = set(sys.argv[1:]) or {
                "files", "money", "all", "notebooks", "schedules", "metrics", "terminals",
            }  # fmt: skip
            if "files" in parts:
                take_files(browser, stack)
            if "money" in parts:
                take_money(browser, stack)
            if "all" in parts:
                with Developer(stack) as developer:
                    take_all(browser, stack, developer)
            if "notebooks" in parts:
                take_notebooks(browser, stack)
            if "schedules" in parts:
                take_schedules(browser, stack)
            if "metrics" in parts:
                with Developer(stack) as developer:
                    take_metrics(browser, stack, developer)
            if "terminals" in parts:
                take_terminals(browser, stack)
            browser.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for page, name in () if sys.argv[1:] else README.items():
        shutil.copy(OUT / f"{page}-light-1440.png", ROOT / "docs" / "img" / f"{name}.png")
    sys.stdout.write(f"{len(list(OUT.glob('*.png')))} screenshots in {OUT}\n")
    return 0


def take_money(browser: Browser, stack: Stack) -> None:
    """Cards and payments: none yet, and some of each."""
    empty = {"cards-empty": "/billing/cards/", "payments-empty": "/billing/payments/"}
    shoot(browser, stack, empty, signed_in=True)
    page = browser.new_page()
    sign_in(page, stack)
    page.goto(f"{stack.url}/billing/cards/")
    page.get_by_role("button", name="Add a card").click()
    card_page = page.url
    save_card(page, stack, GOOD)
    save_card(page, stack, ALWAYS_ASKS)
    page.get_by_role("button", name="from now on").click()
    turn_on_auto_top_up(page, stack, threshold=70, amount=40)
    wait_for_the_bank(page, stack)
    shoot(browser, stack, {"cards": "/billing/cards/", "card-at-stripe": card_page}, signed_in=True)
    page.get_by_role("link", name="Confirm it").click()
    waiting = page.url
    page.get_by_role("button", name="Confirm at the bank").click()
    shoot(browser, stack, {"bank": page.url, "payment-waits": waiting}, signed_in=True)
    page.get_by_role("button", name="It is me").click()
    page.wait_for_url("**/billing/payments/**")
    paid = page.url
    page.get_by_label("Amount").fill("10")
    page.get_by_label("Reason").fill("More than we need this month")
    page.get_by_role("button", name="Refund").click()
    page.wait_for_load_state()
    shoot(browser, stack, {"payment": paid, "payments": "/billing/payments/"}, signed_in=True)
    take_books(browser, page, stack)


def take_books(browser: Browser, page: Page, stack: Stack) -> None:
    """Usage, budgets, documents and details, with something in each."""
    empty = {"usage-empty": "/billing/usage/", "budgets-empty": "/billing/budgets/"}
    shoot(browser, stack, empty, signed_in=True)
    page.goto(f"{stack.url}/jobs/new/?example=digits")
    page.get_by_label("Project").fill("vision")
    page.get_by_role("button", name="Launch").click()
    page.wait_for_url("**/jobs/job_*/")
    job = page.url.rstrip("/").rsplit("/", 1)[1]
    for scope, target, amount in (("team", "", "100"), ("project", "vision", "0.01")):
        page.goto(f"{stack.url}/billing/budgets/")
        page.get_by_label("Of", exact=True).select_option(scope)
        page.get_by_label("Which one").fill(target)
        page.get_by_label("At most").fill(amount)
        page.get_by_role("button", name="Set budget").click()
    page.goto(f"{stack.url}/billing/details/")
    page.get_by_label("Name", exact=True).fill("Institute of Very Long Names and Applied Learning")
    page.get_by_label("Country").select_option("DE")
    page.get_by_role("button", name="Save").click()
    page.goto(f"{stack.url}/billing/invoices/")
    receipt = page.get_by_role("link", name="FG-", exact=False).first
    until(lambda: page.reload() is not None and receipt.is_visible(), seconds=120)
    receipt.click()
    page.wait_for_url("**/billing/invoices/inv_*/")
    pages = {
        "usage": "/billing/usage/?by=project",
        "usage-of": f"/billing/usage/{job}/",
        "budgets": "/billing/budgets/",
        "details": "/billing/details/",
        "invoices": "/billing/invoices/",
        "invoice-top-up": page.url,
    }
    page.goto(f"{stack.url}/billing/invoices/")
    page.locator("section").first.get_by_role("link").first.click()
    page.wait_for_url("**/billing/invoices/inv_*/")
    shoot(browser, stack, pages | {"invoice-draft": page.url}, signed_in=True)
    page.goto(f"{stack.url}/billing/cards/")
    page.get_by_role("button", name="Turn off").click()
    page.close()


def take_all(browser: Browser, stack: Stack, developer: Developer) -> None:
    """Pages without a job, with one at work, and after it."""
    shoot(browser, stack, {"home": "/", "login": "/account/login/", "signup": "/account/signup/"})
    shoot(
        browser,
        stack,
        {
            "first-steps": "/dashboard/",
            "jobs-empty": "/jobs/",
            "launch": "/jobs/new/?example=digits",
            "top-up": "/billing/top-up/",
            "settings": "/settings/",
            "api-keys": "/settings/api-keys/",
            "team": "/team/",
            "mailbox": "/mailbox/",
            "not-found": "/nothing/",
        },
        signed_in=True,
    )
    # It fails once, and its second attempt goes well.
    again = developer.launch('echo trying; test "$FASTGPU_ATTEMPT" -gt 1', name="flaky", retries=1)
    developer.ended(again, seconds=120)
    more = {"environment": DIGITS.environment, "time_limit_seconds": 600, "name": "digits"}
    first = developer.launch(DIGITS.command, **more)
    developer.launch("sleep 200", name="vision-transformer-pretraining-imagenet-run-42", gpus=3)
    developer.launch("sleep 200", name="waits for a GPU", gpus=4)
    until(lambda: "epoch  9" in developer.log(first), seconds=90)
    shoot(
        browser,
        stack,
        {"job-running": f"/jobs/{first}/", "dashboard": "/dashboard/", "jobs": "/jobs/"},
        signed_in=True,
    )
    developer.ended(first, seconds=240)
    shoot(
        browser,
        stack,
        {
            "job-ended": f"/jobs/{first}/",
            "log": f"/jobs/{first}/#log",
            "files": f"/jobs/{first}/#files",
            "details": f"/jobs/{first}/#details",
            "attempts": f"/jobs/{again}/#attempts",
            "attempt-before": f"/jobs/{again}/?attempt=1#log",
            "launch-again": f"/jobs/new/?clone={again}",
            "billing": "/billing/",
        },
        signed_in=True,
    )


def take_notebooks(browser: Browser, stack: Stack) -> None:
    """None yet, one on its way, ready, shared and at rest, and what another member sees."""
    empty = {"notebooks-empty": "/notebooks/", "notebook-new": "/notebooks/new/"}
    shoot(browser, stack, empty, signed_in=True)
    page = browser.new_page()
    sign_in(page, stack)
    path = launch_notebook(page, stack, "a-notebook-whose-name-says-all-there-is-to-say-of-it-0042")
    shoot(browser, stack, {"notebook-starting": path}, signed_in=True)
    page.goto(stack.url + path)
    page.locator("#open-button").wait_for(timeout=120_000)
    shoot(
        browser,
        stack,
        {
            "notebook-ready": path,
            "notebook-idle": f"{path}#idle",
            "notebook-attempts": f"{path}#attempts",
            "notebook-details": f"{path}#details",
            "notebook-shares": f"{path}shares/",
            "notebooks": "/notebooks/",
        },
        signed_in=True,
    )
    page.goto(stack.url + path)
    page.locator("#stop-button").click()
    page.screenshot(path=OUT / "notebook-stop-light-1440.png")
    page.locator("#stop-dialog button[type=submit]").click()
    page.locator("#start-button").wait_for(timeout=60_000)
    shoot(browser, stack, {"notebook-stopped": path}, signed_in=True)
    page.close()


def launch_notebook(page: Page, stack: Stack, name: str) -> str:
    """Launch one and leave the page that would open it; returns its path."""
    page.goto(f"{stack.url}/notebooks/new/")
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_role("button", name="Launch").click()
    page.wait_for_url("**/notebooks/nb_*/*")
    path = page.url.removeprefix(stack.url).partition("?")[0]
    page.goto(stack.url + path)
    return path


if __name__ == "__main__":
    raise SystemExit(main())
