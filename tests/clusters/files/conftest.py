"""An open volume in a folder of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from clusters.files.tree import Tree


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Where the volume lies; beside it lies something that is not ours."""
    (tmp_path / "secret").write_bytes(b"of somebody else")
    root = tmp_path / "volume"
    root.mkdir()
    return root


@pytest.fixture
def tree(root: Path) -> Iterator[Tree]:
    """The volume, open."""
    with Tree(root, None) as tree:
        yield tree


def names_in(folder: Path | str) -> list[str]:
    """What lies there, sorted."""
    return sorted(path.name for path in Path(folder).iterdir())
