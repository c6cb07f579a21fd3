"""The local backend's settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class LocalSettings:
    """Where the local backend keeps things and how it may isolate; see portal/settings.py."""

    root: Path
    environments: Path
    virtual_gpus: int
    allow_insecure: bool
    uid_base: int
