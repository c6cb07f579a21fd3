"""One whole FastGPU for all tests that need one (a pytest plugin)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stacks.developer import Developer
from tests.stacks.portal import Stack, running


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A FastGPU started as a newcomer starts it."""
    folder: Path = tmp_path_factory.mktemp("stack")
    own = {"ENVIRONMENTS_DIR": str(folder / "var" / "environments")}
    with running(folder / "var", own) as stack:
        yield stack


@pytest.fixture
def developer(stack: Stack) -> Iterator[Developer]:
    """The demo's owner at the API of that stack."""
    with Developer(stack) as developer:
        yield developer
