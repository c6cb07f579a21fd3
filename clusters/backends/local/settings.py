"""The local backend's settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class LocalSettings:
    """Where the local backend keeps things and how it may isolate; see portal/settings.py.

    `oci_socket` is the path of a Docker API's socket (docker or podman) for environments that
    are images, "" where there is none.
    """

    root: Path
    environments: Path
    virtual_gpus: int
    allow_insecure: bool
    uid_base: int
    oci_socket: str = ""
