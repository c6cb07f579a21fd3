"""Volumes as folders below one of this machine, owned by whoever runs the suite."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from functools import cached_property
from pathlib import Path

from clusters.backends.base import BackendUnavailable
from clusters.backends.capabilities import Volumes
from clusters.files.removal import erase


class FolderVolumes(Volumes):
    """Keeps volumes below `volumes_root`, made when it is first asked for."""

    is_down = False
    owner: tuple[int, int] | None = None

    @cached_property
    def volumes_root(self) -> Path:
        """A folder that goes with this engine."""
        folder = tempfile.mkdtemp(prefix="fgv-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return Path(folder)

    def make_volume(self, name: str, *, team_number: int) -> None:
        self._answer_volumes()
        self.volume_path(name).mkdir(exist_ok=True)

    def volume_path(self, name: str) -> Path:
        return self.volumes_root / name

    def volume_owner(self, team_number: int) -> tuple[int, int] | None:
        return self.owner

    def erase_volume(self, name: str) -> None:
        self._answer_volumes()
        erase(self.volume_path(name))

    def _answer_volumes(self) -> None:
        if self.is_down:
            raise BackendUnavailable("the storage does not answer")
