"""Which attempts run on this machine, as its local backend wrote it down.

`DIR/<external name>/placement.json` lies there while the attempt lives::

    {"external_name": "...", "gpu_uuids": ["GPU-..."],
     "cgroups": {"cpuacct": "/sys/fs/cgroup/...", "memory": ...}   (v2: {"unified": ...}),
     "supervisor": {"pid": 123, "create_time": 1790000000.12}}

`state.json` beside it has `ended_at` once the attempt has ended, and it never lives again then.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Placement:
    """One attempt on this machine. `cgroups` is controller -> folder, and may be empty."""

    external_name: str
    gpu_uuids: tuple[str, ...]
    supervisor_pid: int
    supervisor_create_time: float
    cgroups: dict[str, str] = field(default_factory=dict)


class Placements:
    """Reads the folder again at every beat, without opening what ended long ago."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ended: set[str] = set()
        self._unreadable: set[str] = set()

    def read(self) -> list[Placement]:
        """The attempts that live now, by name. No folder: none."""
        try:
            names = {entry.name for entry in self._folder.iterdir()}
        except FileNotFoundError:
            return []
        self._ended &= names
        self._unreadable &= names
        found = [self._read_one(name) for name in sorted(names - self._ended)]
        return [placement for placement in found if placement is not None]

    def _read_one(self, name: str) -> Placement | None:
        attempt = self._folder / name
        try:
            placement = _load(attempt / "placement.json")
            if placement is None:
                state = _load(attempt / "state.json")
                if state is not None and "ended_at" in state:
                    self._ended.add(name)
                return None
            return _parse(placement)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            if name not in self._unreadable:
                self._unreadable.add(name)
                logger.warning("the placement of %s cannot be read: %r", name, error)
            return None


def _load(path: Path) -> dict[str, Any] | None:
    try:
        document: dict[str, Any] = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    return document


def _parse(document: dict[str, Any]) -> Placement:
    supervisor = document["supervisor"]
    return Placement(
        external_name=str(document["external_name"]),
        gpu_uuids=tuple(str(uuid) for uuid in document["gpu_uuids"]),
        supervisor_pid=int(supervisor["pid"]),
        supervisor_create_time=float(supervisor["create_time"]),
        cgroups={str(name): str(path) for name, path in document.get("cgroups", {}).items()},
    )
