"""What two workloads serve, open in one browser: neither reaches the other, nor the portal."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psycopg
import pytest
from playwright.sync_api import Browser, BrowserContext, Page
from psycopg.types.json import Jsonb

from tests.browser.shooting import sign_in
from tests.stacks.developer import Developer, until
from tests.stacks.portal import Stack

pytestmark = [pytest.mark.browser, pytest.mark.stack, pytest.mark.timeout(200)]
SERVED = """
INSERT INTO clusters_app (name, service, workload_id, attempt_id, endpoint, state, failure,
    created_at)
SELECT %s, 'lab', w.id, a.id, %s, 'ready', '', now()
FROM clusters_workload w JOIN clusters_attempt a ON a.workload_id = w.id WHERE w.public_id = %s
"""
TRY = """async ([url, options]) => {
    try {
        const answer = await fetch(url, {credentials: 'include', ...options});
        return `${answer.type} ${answer.status} ${await answer.text()}`;
    } catch (error) { return error.name; }
}"""
TRY_SOCKET = """url => new Promise(told => {
    const socket = new WebSocket(url);
    socket.onopen = () => told('open');
    socket.onerror = () => told('refused');
})"""
TRY_FRAME = """url => new Promise(told => {
    const frame = document.createElement('iframe');
    frame.onload = () => told(frame.contentDocument === null);
    frame.src = url;
    document.body.append(frame);
})"""
TOSS = """name => ['/', '/secret'].forEach(path => {
    document.cookie = `${name}=fgc_${'x'.repeat(43)}; domain=apps.localhost; path=${path}`;
})"""


@dataclass
class Served:
    """One workload's server: says its `name` to everybody, and lets every origin read it."""

    port: int
    name: str = ""
    origin: str = ""
    heard: list[tuple[str, str]] = field(default_factory=list)
    headers: list[str] = field(default_factory=list)


@contextmanager
def serving() -> Iterator[Served]:
    """It listens for the length of the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.heard.append((self.command, self.path))
            served.headers.append(str(self.headers))
            body = f"<!doctype html><html><head></head><body>I am {served.name}".encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Access-Control-Allow-Origin", self.headers.get("Origin", "*"))
            self.send_header("Access-Control-Allow-Credentials", "true")
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_PUT = do_GET  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served = Served(server.server_port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _wait_running(developer: Developer, job: str) -> None:
    until(lambda: developer.job(job)["status"] == "running")


@pytest.fixture(scope="module")
def both(stack: Stack) -> Iterator[tuple[Served, Served]]:
    """Two workloads of the demo's owner that run, and what they serve."""
    with ExitStack() as held:
        developer = held.enter_context(Developer(stack))
        database = held.enter_context(psycopg.connect(stack.database_url, autocommit=True))
        made = held.enter_context(serving()), held.enter_context(serving())
        jobs = [developer.launch("sleep 300", environment="system") for _ in made]
        for served, job in zip(made, jobs, strict=True):
            _wait_running(developer, job)
            served.name = job.replace("_", "-")
            served.origin = f"http://{served.name}.apps.localhost:{stack.port + 1}"
            where = Jsonb({"host": "127.0.0.1", "port": served.port})
            database.execute(SERVED, (served.name, where, job))
        yield made
        for job in jobs:
            developer.http.post(f"/jobs/{job}/stop")


@pytest.fixture
def context(browser: Browser, stack: Stack) -> Iterator[BrowserContext]:
    """A browser in which the demo's owner is signed in at the portal."""
    context = browser.new_context()
    sign_in(context.new_page(), stack)
    yield context
    context.close()


@pytest.fixture
def pages(context: BrowserContext, stack: Stack, both: tuple[Served, Served]) -> list[Page]:
    """Both opened from the portal, each in a tab."""
    opened = []
    for served in both:
        page = context.new_page()
        page.goto(f"{stack.url}/open/{served.name}/")
        page.wait_for_url(f"{served.origin}/")
        assert f"I am {served.name}" in page.content()
        opened.append(page)
    for served in both:
        served.heard.clear()
    return opened


def test_each_has_a_cookie_of_its_own_that_no_page_reads(
    pages: list[Page], context: BrowserContext, both: tuple[Served, Served]
) -> None:
    ours = [cookie for cookie in context.cookies() if cookie["name"] == "fastgpu"]
    hosts = {served.origin.removeprefix("http://").partition(":")[0] for served in both}
    # With a dot in front it would be a whole domain's.
    assert {cookie["domain"] for cookie in ours} == hosts
    assert all(cookie["httpOnly"] for cookie in ours)
    assert len({cookie["value"] for cookie in ours}) == 2
    assert [page.evaluate("document.cookie") for page in pages] == ["", ""]


def test_no_server_is_told_how_its_person_is_signed_in(
    pages: list[Page], context: BrowserContext, both: tuple[Served, Served]
) -> None:
    secrets = [cookie["value"] for cookie in context.cookies()]
    told = "".join(text for served in both for text in served.headers)
    assert secrets
    assert [secret for secret in secrets if secret in told] == []


def test_a_page_neither_reads_nor_moves_its_neighbour(
    pages: list[Page], both: tuple[Served, Served]
) -> None:
    page, victim = pages[0], both[1]
    assert page.evaluate(TRY, [f"{victim.origin}/secret", {}]) == "TypeError"
    for method in ("GET", "POST"):
        blind = page.evaluate(TRY, [f"{victim.origin}/", {"mode": "no-cors", "method": method}])
        assert blind in {"opaque 0 ", "TypeError"}
    assert page.evaluate(TRY_SOCKET, f"{victim.origin.replace('http', 'ws')}/socket") == "refused"
    assert page.evaluate(TRY_FRAME, f"{victim.origin}/")
    assert victim.heard == []
    # Its own server it does reach, by the same words.
    assert both[0].name in page.evaluate(TRY, [f"{both[0].origin}/secret", {}])


def test_a_page_has_no_portal_api_with_its_persons_cookie(
    pages: list[Page], stack: Stack, developer: Developer
) -> None:
    page, jobs = pages[0], f"{stack.url}/api/v1/jobs"
    before = {job["id"] for job in developer.http.get("/jobs").json()["jobs"]}
    assert page.evaluate(TRY, [jobs, {}]) == "TypeError"
    body = '{"name": "evil", "pool": "a100", "gpus": 1, "command": "true"}'
    for options in ({"method": "GET"}, {"method": "POST", "body": body}):
        with page.expect_response(jobs) as answer:
            page.evaluate(TRY, [jobs, {"mode": "no-cors", **options}])
        assert answer.value.status == 403
    assert {job["id"] for job in developer.http.get("/jobs").json()["jobs"]} == before


def test_a_cookie_that_a_neighbour_has_tossed_neither_lets_in_nor_locks_out(
    pages: list[Page], context: BrowserContext, both: tuple[Served, Served]
) -> None:
    evil, page = pages
    evil.evaluate(TOSS, "fastgpu")
    assert [each for each in context.cookies() if each["domain"] == ".apps.localhost"]
    page.goto(f"{both[1].origin}/secret")
    assert f"I am {both[1].name}" in page.content()
    assert ("GET", "/secret") in both[1].heard
    assert "fgc_" not in "".join(both[1].headers)
