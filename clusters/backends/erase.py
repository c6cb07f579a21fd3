"""Deleting what hostile code left: trees of any depth and size, closed to all, still changing.

No path is ever followed: each step is taken from an open folder, by name and past no link. Folders
found inside others are first moved up to the top, so that the tree gets flat while it is deleted:
two open folders do for any depth, and an erasing that was cut off goes on where it was.
"""

# The supervisor imports it, and pathlib would cost 10 ms of the time a user waits for the start.
# ruff: noqa: PTH101, PTH106

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

HOLD_FLAGS = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
READ_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def erase(folder: Path | str) -> None:
    """Delete `folder` and all in it; not there is as good. Only `folder` itself must be ours.

    Raises OSError where the disk or the kernel will not let go of something.
    """
    clear(folder)
    try:
        os.rmdir(folder)
    except FileNotFoundError:
        return


def clear(folder: Path | str, *, keep: str = "") -> None:
    """Delete all that is in `folder` but what is called `keep`, and not itself."""
    try:
        top = _open(None, str(folder))
    except FileNotFoundError:
        return
    try:
        while _sweep(top, top, keep):
            pass
    finally:
        os.close(top)


def _sweep(folder: int, top: int, keep: str = "") -> bool:
    """Unlink what is no folder; delete or move up what is one. False: there was nothing."""
    found = False
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name == keep:
                continue
            found = True
            try:
                _remove(folder, entry.name, top)
            except FileNotFoundError:
                # Somebody else was faster.
                continue
    return found


def _remove(folder: int, name: str, top: int) -> None:
    try:
        os.unlink(name, dir_fd=folder)
    except IsADirectoryError:
        if folder == top:
            _remove_folder(top, name)
        else:
            # To move a folder, one must be allowed to write in it.
            os.close(_open(folder, name))
            os.rename(name, os.urandom(16).hex(), src_dir_fd=folder, dst_dir_fd=top)


def _remove_folder(top: int, name: str) -> None:
    folder = _open(top, name)
    try:
        while _sweep(folder, top):
            pass
    finally:
        os.close(folder)
    os.rmdir(name, dir_fd=top)


def _open(above: int | None, name: str) -> int:
    """The folder `name`, open to us whatever its mode was."""
    held = os.open(name, HOLD_FLAGS, dir_fd=above)
    try:
        # A mode of a folder that one holds by O_PATH can be changed only this way.
        os.chmod(f"/proc/self/fd/{held}", 0o700)
        return os.open(".", READ_FLAGS, dir_fd=held)
    finally:
        os.close(held)
