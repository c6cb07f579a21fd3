"""Pictures of a run's metrics, and of TensorBoard over it."""

from __future__ import annotations

from playwright.sync_api import Browser, Page

from clusters.examples import DIGITS
from tests.browser.shooting import OUT, shoot, sign_in
from tests.stacks.developer import Developer
from tests.stacks.portal import Stack

WRITES_SCALARS = """python - <<'PY'
import math, time
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter
for folder in ("runs/adam", "runs/sgd-with-a-long-name-of-its-own"):
    writer = EventFileWriter(folder)
    for step in range(400):
        for tag, value in (
            ("loss/train", math.exp(-step / 90) + 0.05 * math.sin(step * 1.7)),
            ("loss/validation", math.exp(-step / 110) + 0.1),
            ("accuracy", 1 - math.exp(-step / 120)),
        ):
            values = [Summary.Value(tag=tag, simple_value=value * (1 + len(folder) / 90))]
            writer.add_event(Event(step=step, wall_time=time.time(), summary=Summary(value=values)))
    writer.close()
PY
sleep 120"""


def take_metrics(browser: Browser, stack: Stack, developer: Developer) -> None:
    """None yet, what a run wrote, and TensorBoard over it."""
    none = developer.launch("sleep 120", name="writes none")
    more = {"environment": DIGITS.environment, "time_limit_seconds": 600}
    job = developer.launch(WRITES_SCALARS, name="two-optimisers", **more)
    page = browser.new_page()
    sign_in(page, stack)
    page.goto(f"{stack.url}/jobs/{job}/#metrics")
    page.locator("#metrics-charts .js-plotly-plot").first.wait_for(timeout=90_000)
    shoot(
        browser,
        stack,
        {"metrics-none": f"/jobs/{none}/#metrics"},
        signed_in=True,
        prepare=lambda page: page.locator("#metrics-none").wait_for(),
    )
    drawn = {"metrics": f"/jobs/{job}/#metrics"}
    shoot(browser, stack, drawn, signed_in=True, prepare=wait_for_charts)
    page.locator("#metrics-smooth").fill("0.9")
    page.locator("#metrics-over").select_option("since")
    page.locator("#metrics-find").fill("loss")
    page.locator("#metrics-charts .js-plotly-plot:visible").first.hover()
    page.locator("#metrics-charts summary:visible").first.click()
    page.screenshot(path=OUT / "metrics-smooth-light-1440.png", full_page=True)
    with page.expect_popup() as opened:
        page.locator("#board-button").click()
    board = opened.value
    board.wait_for_load_state()
    board.screenshot(path=OUT / "board-starting-light-1440.png")
    board.locator("tb-webapp").wait_for(timeout=60_000)
    board.wait_for_load_state("networkidle")
    board.screenshot(path=OUT / "board-light-1440.png")
    page.close()


def wait_for_charts(page: Page) -> None:
    """Until the first is drawn."""
    page.locator("#metrics-charts .js-plotly-plot").first.wait_for(timeout=20_000)
