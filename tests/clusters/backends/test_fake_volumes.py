"""The suite's own engine keeps volumes as any other does."""

from __future__ import annotations

import pytest

from clusters.backends.capabilities import Volumes
from tests.contracts.volumes import VolumesContract
from tests.fakes.backend import FakeBackend


class TestFakeVolumes(VolumesContract):
    @pytest.fixture
    def volumes(self) -> Volumes:
        return FakeBackend()
