"""What this process holds open, told by where it lies, so that other tests' files do not count."""

from __future__ import annotations

from pathlib import Path


def open_below(*folders: Path) -> list[Path]:
    """Files and folders that are open, in these folders or the folders themselves."""
    found = []
    for link in Path("/proc/self/fd").iterdir():
        try:
            target = link.readlink()
        except FileNotFoundError:
            continue  # closed since it was listed: the listing itself, too
        if any(target.is_relative_to(folder) for folder in folders):
            found.append(target)
    return found
