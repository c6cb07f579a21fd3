"""From a line being printed by a job to its arrival at a page's socket."""

from __future__ import annotations

import asyncio
import re
import time

import httpx
from websockets.asyncio.client import connect

from tests.bench.stack import Stack, launch, wait_for_end
from tests.bench.table import Figure, percentile

GOAL_MS = 250.0
LINES = 150
COMMAND = f"for i in $(seq {LINES}); do date +%s%N; sleep 0.1; done"
CLOCK = re.compile(r"(?<!\d)1\d{18}(?!\d)")
LISTEN_SECONDS = 60.0


def measure(stack: Stack) -> Figure:
    """Percentiles over the lines printed while the socket was open."""
    cookie = sign_in(stack)
    with stack.api() as api:
        job = launch(api, "bench log", COMMAND, seconds=120)
        delays = asyncio.run(_listen(stack, job, cookie))
        wait_for_end(api, job)
    if not delays:
        raise RuntimeError("no line of the job arrived at the socket")
    p50, p95 = percentile(delays, 0.50), percentile(delays, 0.95)
    return Figure(
        f"log_latency ({len(delays)} lines)",
        f"p50 {p50:.0f} ms, p95 {p95:.0f} ms",
        "-",
        "-",
        f"p95 < {GOAL_MS:.0f} ms",
        p95 < GOAL_MS,
    )


async def _listen(stack: Stack, job: str, cookie: str) -> list[float]:
    """Milliseconds by which each line was late, until the job's last lines came."""
    url = f"ws://127.0.0.1:{stack.port}/ws/jobs/{job}/"
    origin = f"http://localhost:{stack.port}"
    seen: dict[int, float] = {}
    headers = {"Cookie": cookie, "Host": f"localhost:{stack.port}"}
    async with connect(url, additional_headers=headers, origin=origin) as socket:  # type: ignore[arg-type]
        opened = time.time_ns()
        deadline = time.monotonic() + LISTEN_SECONDS
        while len(seen) < LINES and time.monotonic() < deadline:
            try:
                async with asyncio.timeout(5):
                    message = await socket.recv()
            except TimeoutError:
                break
            arrived = time.time_ns()
            for text in CLOCK.findall(str(message)):
                seen.setdefault(int(text), (arrived - int(text)) / 1e6)
    return [delay for printed, delay in seen.items() if printed > opened]


def sign_in(stack: Stack) -> str:
    """The demo owner's session, as a Cookie header."""
    demo = stack.demo()
    with httpx.Client(base_url=stack.url, timeout=30) as browser:
        browser.get("/account/login/")
        form = {
            "login": demo["owner_email"],
            "password": demo["owner_password"],
            "csrfmiddlewaretoken": browser.cookies["csrftoken"],
        }
        answer = browser.post("/account/login/", data=form)
        if answer.status_code != 302:
            raise RuntimeError(f"the demo owner could not sign in: {answer.status_code}")
        return f"sessionid={browser.cookies['sessionid']}"
