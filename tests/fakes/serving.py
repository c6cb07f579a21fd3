"""The engine in memory with servers: every attempt that runs serves where the test says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from clusters.backends.base import BackendError, Endpoint, Phase
from clusters.backends.capabilities import Folders, Terminals
from tests.fakes.backend import FakeBackend


class ServingBackend(FakeBackend, Terminals):
    """What runs serves at `everywhere`, unless `endpoints` says otherwise; None: not known.

    `no_terminal` says why there is none to be had.
    """

    def __init__(self) -> None:
        super().__init__()
        self.everywhere: Endpoint | None = Endpoint(host="127.0.0.1", port=1, token="t")
        self.endpoints: dict[str, Endpoint | None] = {}
        self.terminals: list[str] = []
        self.no_terminal = ""

    def endpoint(self, external_name: str, service: str) -> Endpoint | None:
        self._answer()
        seen = self.seen.get(external_name)
        if seen is None or seen.phase != Phase.RUNNING:
            return None
        return self.endpoints.get(external_name, self.everywhere)

    def open_terminal(self, external_name: str) -> None:
        self._answer()
        if self.no_terminal:
            raise BackendError(self.no_terminal)
        self.terminals.append(external_name)


class FolderBackend(ServingBackend, Folders):
    """Keeps a home of every attempt too, and shows the volume it was given."""

    names_hosts = True

    def folders_of(self, external_name: str) -> Mapping[str, Path]:
        self._answer()
        if external_name not in self.seen:
            return {}
        found = {"home": self.volumes_root / external_name}
        if volume := self.specs[external_name].volume:
            found["workspace"] = self.volume_path(volume)
        return found


class NodesBackend(FolderBackend):
    """Its machines are a cluster's: none is called like what runs there."""

    names_hosts = False
