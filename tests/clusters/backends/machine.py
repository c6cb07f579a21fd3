"""A local backend for tests: its settings, its runtimes, and what lies in its folders."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from clusters.backends.base import Handle, Phase
from clusters.backends.local.backend import LocalBackend
from clusters.backends.local.settings import LocalSettings
from tests.contracts.backend import wait_for

UID_BASE = 210_000
AS_ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not AS_ROOT, reason="needs root")
RUNTIMES = (
    "bubblewrap",
    pytest.param("container", marks=[pytest.mark.oci, needs_root]),
)
ENVIRONMENTS = {"bubblewrap": "", "container": "image"}
"""The environment that chooses a runtime."""


def settings_of(root: Path, *, allow_insecure: bool = False, oci_socket: str = "") -> LocalSettings:
    """Settings with everything below `root`."""
    return LocalSettings(
        root=root / "local",
        environments=root / "environments",
        virtual_gpus=2,
        allow_insecure=allow_insecure,
        uid_base=UID_BASE,
        oci_socket=oci_socket,
    )


@contextmanager
def ending_all(backend: LocalBackend, root: Path) -> Iterator[LocalBackend]:
    """`backend`, and at the end none of its attempts runs."""
    yield backend
    attempts = root / "local" / "attempts"
    names = [folder.name for folder in attempts.iterdir()] if attempts.is_dir() else []
    for name in names:
        backend.stop(name, grace_seconds=0)
    wait_for(
        lambda: all(
            seen.phase is Phase.ENDED for seen in backend.observe(map(Handle, names)).seen.values()
        )
    )


def state_of(root: Path, name: str) -> dict[str, object]:
    """The supervisor's state.json."""
    loaded: dict[str, object] = json.loads(
        (root / "local" / "attempts" / name / "state.json").read_text()
    )
    return loaded
