"""Fixtures of the agent's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.sdk.places import Worker


@pytest.fixture
def worker() -> Iterator[Worker]:
    """A process tree to measure."""
    made = Worker()
    yield made
    made.end()
