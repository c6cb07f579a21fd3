"""One stack and one Chromium for all journeys."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.browser.developer import Developer
from tests.browser.portal import Stack, running

CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A FastGPU started as a newcomer starts it."""
    folder: Path = tmp_path_factory.mktemp("stack")
    with running(folder / "var") as stack:
        yield stack


@pytest.fixture
def developer(stack: Stack) -> Iterator[Developer]:
    """The demo's owner at the API of that stack."""
    with Developer(stack) as developer:
        yield developer


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()
