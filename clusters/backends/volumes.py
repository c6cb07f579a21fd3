"""Volumes: folders that outlive attempts, in `<root>/volumes/<name>`, each its team's alone."""

from __future__ import annotations

import os
import re
from pathlib import Path

from clusters.backends import erase
from clusters.backends.base import BackendError, BackendUnavailable, LaunchRefused

FOLDER = "volumes"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}")


def path_of(root: Path, name: str) -> Path:
    """Where the volume lies, there or not. Raises BackendError for what is no name."""
    if not NAME.fullmatch(name):
        raise BackendError(f"{name!r} cannot name a volume.")
    return root / FOLDER / name


def make(root: Path, name: str, owner: tuple[int, int] | None) -> None:
    """Make the folder for `owner`, a uid and gid (None: whom the portal runs as).

    Raises BackendError for what is no name, BackendUnavailable when the disk says no.
    """
    folder = path_of(root, name)
    try:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        if owner is not None:
            # It lies in a folder that only the portal can write, so it is no link.
            os.chown(folder, *owner)
    except OSError as error:
        raise BackendUnavailable(f"The volume {name} could not be made: {error}") from error


def erase_one(root: Path, name: str) -> None:
    """Delete the volume; goes on where an earlier call was cut off. Raises BackendUnavailable.

    Nothing finds it under its name from the first moment on.
    """
    folder = path_of(root, name)
    dying = folder.with_name(f".{name}.erased")
    try:
        erase.erase(dying)
        folder.rename(dying)
        erase.erase(dying)
    except FileNotFoundError:
        return
    except OSError as error:
        raise BackendUnavailable(f"The volume {name} could not be erased: {error}") from error


def folder_for(root: Path, name: str, uid: int | None, *, where: str) -> Path | None:
    """The folder of the volume that work of `uid` (None: of anybody) mounts; None for no name.

    Raises LaunchRefused where it is not `where` it is looked for, or is another's.
    """
    if not name:
        return None
    try:
        folder = path_of(root, name)
    except BackendError as error:
        raise LaunchRefused(str(error)) from error
    # It lies in a folder that only the portal can write, so it is no link.
    if not folder.is_dir():
        raise LaunchRefused(f"The volume {name} is not on {where}.")
    if uid is not None and folder.stat().st_uid != uid:
        raise LaunchRefused(f"The volume {name} is another team's.")
    return folder
