"""From sign-up to invoice as a new user walks it, in Chromium."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from portal.lib import clock
from tests.stacks.portal import Stack

pytestmark = [pytest.mark.browser, pytest.mark.stack, pytest.mark.timeout(400)]
EMAIL = "newcomer@example.org"
PASSWORD = "a long enough passphrase"
CARD = {"number": "4242 4242 4242 4242", "expiry": "12 / 40", "code": "123"}


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A browser nobody has used yet."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, accept_downloads=True)
    yield context
    context.close()


class Complaints:
    """What the browser complained of: console errors, CSP violations, failed scripts."""

    def __init__(self, page: Page) -> None:
        self.heard: list[str] = []
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.heard.append(f"{page.url}: {error}"))
        page.add_init_script(
            "document.addEventListener('securitypolicyviolation',"
            " e => console.error('CSP', e.violatedDirective, e.blockedURI, e.sourceFile))"
        )

    def _on_console(self, message: object) -> None:
        kind, text = getattr(message, "type", ""), getattr(message, "text", "")
        if kind in {"error", "warning"}:
            self.heard.append(f"{kind}: {text}")


def test_from_sign_up_to_invoice(stack: Stack, context: BrowserContext, tmp_path: Path) -> None:
    page = context.new_page()
    complaints = Complaints(page)

    sign_up(page, stack)
    add_credit(page, stack)
    launch_the_example(page, stack)
    watch_it_run(page)
    read_the_bill(page, stack, tmp_path)

    assert not complaints.heard, "\n".join(complaints.heard)


def sign_up(page: Page, stack: Stack) -> None:
    """Prices in sight, an account, a verified address."""
    page.goto(stack.url)
    expect(page.locator("#pools-now")).to_contain_text("$2.10")
    page.get_by_role("link", name="Sign up").first.click()
    page.get_by_label("Email").fill(EMAIL)
    page.get_by_label("Password").first.fill(PASSWORD)
    page.get_by_role("button", name="Make the account").click()
    expect(page.get_by_role("heading", name="Look at your mail")).to_be_visible()
    page.goto(f"{stack.url}/mailbox/?to={EMAIL}")
    page.locator("td.cell-main a").first.click()
    page.locator("a[href*='/account/confirm-email/']").click()
    page.get_by_role("button").filter(has_text=re.compile("confirm|right|verify", re.I)).click()
    page.goto(f"{stack.url}/dashboard/")
    expect(page.get_by_role("heading", name="Dashboard")).to_be_visible()


def add_credit(page: Page, stack: Stack) -> None:
    """$25 with the test card on the payment page."""
    page.goto(f"{stack.url}/billing/top-up/?amount=25")
    page.get_by_role("button", name="Continue to payment").click()
    page.get_by_label("Card number").fill(CARD["number"])
    page.get_by_label("Expiry").fill(CARD["expiry"])
    page.get_by_label("Security code").fill(CARD["code"])
    page.get_by_label("Name on card").fill("N. Comer")
    page.get_by_role("button", name="Pay $25.00").click()
    page.wait_for_url(re.compile(r"/billing/"))
    page.goto(f"{stack.url}/billing/")
    expect(page.locator("main")).to_contain_text("$25.00")


def launch_the_example(page: Page, stack: Stack) -> None:
    """The digits, with the price in sight before the button."""
    page.goto(f"{stack.url}/jobs/new/?example=digits")
    expect(page.locator("main")).to_contain_text("$2.10")
    page.get_by_role("button", name=re.compile(r"^Launch 1 . A100.*\$2\.10")).click()
    page.wait_for_url(re.compile(r"/jobs/job_\w+/$"))


def watch_it_run(page: Page) -> None:
    """Log and chart move by themselves, then it has ended and everything stays."""
    log = page.locator("[data-log], .log").first
    chart = page.locator(".js-plotly-plot").first
    page.get_by_role("tab", name="Log").click()
    expect(log).to_contain_text("loss", timeout=60_000)
    page.get_by_role("tab", name="Overview").click()
    expect(chart).to_be_visible(timeout=30_000)
    expect(page.get_by_text("Last lines")).to_be_visible()
    expect(page.locator("main")).to_contain_text("Succeeded", timeout=120_000)
    expect(log).to_contain_text("saved model.joblib")
    page.get_by_role("tab", name="Files").click()
    page.reload()
    expect(page.get_by_role("link", name=re.compile("model.joblib"))).to_be_visible()
    expect(log).to_contain_text("saved model.joblib", timeout=20_000)
    page.get_by_role("tab", name="Overview").click()
    expect(chart).to_be_visible(timeout=20_000)
    fills_its_box(chart)
    page.get_by_role("tab", name="Files").click()
    with page.expect_download() as download:
        page.get_by_role("link", name=re.compile("metrics.json")).first.click()
    assert '"loss"' in Path(download.value.path()).read_text()


def fills_its_box(chart: Locator) -> None:
    """A chart drawn while its tab was hidden would have another width."""
    drawn = chart.locator(".main-svg").first.bounding_box()
    box = chart.bounding_box()
    assert drawn is not None
    assert box is not None
    assert abs(drawn["width"] - box["width"]) <= 1


def read_the_bill(page: Page, stack: Stack, folder: Path) -> None:
    """The run, why it cost that, and the draft invoice as a PDF."""
    page.goto(f"{stack.url}/billing/")
    expect(page.locator("main")).to_contain_text("digits")
    page.get_by_role("link", name="Invoices").click()
    page.get_by_role("link", name=f"{clock.now():%B %Y}", exact=True).click()
    expect(page.locator("main")).to_contain_text("digits")
    with page.expect_download() as download:
        page.get_by_role("link", name=re.compile("PDF")).first.click()
    saved = folder / "invoice.pdf"
    download.value.save_as(saved)
    assert saved.read_bytes().startswith(b"%PDF-")


def test_staff_see_the_run_and_may_grant_credit(stack: Stack, context: BrowserContext) -> None:
    page = context.new_page()
    page.goto(f"{stack.url}/admin/")
    page.locator("input[name=username]").fill(stack.demo["staff_email"])
    page.locator("input[name=password]").fill(stack.demo["staff_password"])
    page.locator("button[type=submit]").click()
    for name in ("Users", "Teams", "Workloads", "Journal entries", "Invoices"):
        expect(page.get_by_role("link", name=name).first).to_be_visible()
    page.goto(f"{stack.url}/admin/clusters/workload/")
    expect(page.locator("body")).not_to_contain_text("Add workload")
