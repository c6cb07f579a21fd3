"""One quiet sandbox for the module's reading tests, fresh ones where state matters."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.billing.sandbox.harness import Receiver, Server

Starter = Callable[..., Server]


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A sandbox without a webhook endpoint; tests must not count what is in it."""
    server = Server(tmp_path_factory.mktemp("stripe"))
    yield server
    server.stop()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Starter]:
    """Starts sandboxes that share one state folder and are stopped at the end."""
    started: list[Server] = []

    def starter(webhook_url: str = "", *options: str) -> Server:
        started.append(Server(tmp_path / "stripe", webhook_url, *options))
        return started[-1]

    yield starter
    for server in started:
        server.stop()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A webhook endpoint."""
    found = Receiver()
    yield found
    found.close()
