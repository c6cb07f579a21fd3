"""Pictures of schedules."""

from __future__ import annotations

from playwright.sync_api import Browser

from tests.browser.shooting import OUT, shoot, sign_in
from tests.stacks.portal import Stack


def take_schedules(browser: Browser, stack: Stack) -> None:
    """None yet, the form, and one whose notebook ran once and was not found."""
    new, home = "/notebooks/schedules/new/", "/notebooks/schedules/"
    shoot(browser, stack, {"schedules-empty": home, "schedule-new": new}, signed_in=True)
    page = browser.new_page()
    sign_in(page, stack)
    page.goto(stack.url + new)
    page.get_by_role("button", name="Schedule it").click()
    page.locator("[aria-invalid=true]").first.wait_for()
    page.screenshot(path=OUT / "schedule-refused-light-1440.png", full_page=True)
    page.goto(f"{stack.url}{new}?volume={make_volume(stack)}&path=reports/daily.ipynb")
    page.get_by_role("button", name="Monday to Friday at 08:00").click()
    page.get_by_label("Parameters").fill("days=7\nwho=all of us")
    page.get_by_role("button", name="Schedule it").click()
    page.wait_for_url("**/notebooks/schedules/sched_*/")
    path = page.url.removeprefix(stack.url)
    shoot(browser, stack, {"schedule-first": path}, signed_in=True)
    page.get_by_role("button", name="Run now").click()
    page.wait_for_url("**/jobs/job_*/")
    page.goto(stack.url + path)
    page.locator("tbody .status-failed").wait_for(timeout=120_000)
    pages = {"schedules": home, "schedule": path, "schedule-edit": f"{path}edit/"}
    shoot(browser, stack, pages, signed_in=True)
    page.locator("#schedule-more summary").click()
    page.screenshot(path=OUT / "schedule-more-light-1440.png")
    page.get_by_role("button", name="Remove").click()
    page.screenshot(path=OUT / "schedule-remove-light-1440.png")
    page.close()


def make_volume(stack: Stack) -> str:
    """A volume of the demo's team; returns its id."""
    lines = (
        "from accounts.models import Team",
        "from clusters.models import Volume",
        f"team = Team.objects.get(members__email={stack.demo['owner_email']!r})",
        "made = dict(team=team, created_by=team.members.first(), backend='local', size_gib=1)",
        "print(Volume.objects.create(name='data', **made).public_id)",
    )
    return stack.manage("shell", "-c", "\n".join(lines)).split()[-1]
