"""One podman for all tests that need one (a pytest plugin)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.oci.service import Podman, running


@pytest.fixture(scope="session")
def podman() -> Iterator[Podman]:
    """A podman service of the suite's own, with one image."""
    with running() as service:
        yield service
