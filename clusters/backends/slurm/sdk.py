"""The SDK as one file that Python imports from, for nodes where nobody has installed it."""

from __future__ import annotations

import hashlib
import io
import zipfile
from functools import cache
from pathlib import Path

from clusters.backends.slurm.folders import SharedFolder

HERE = Path(__file__).resolve().parents[3] / "sdk" / "src"
MODE = 0o100644 << 16


def install(folders: SharedFolder) -> Path:
    """Where it lies below the cluster's shared folder; its name carries what it holds."""
    content = _archive()
    return folders.install(content, f"sdk-{hashlib.sha256(content).hexdigest()[:12]}.zip")


@cache
def _archive() -> bytes:
    """The same bytes for the same code, whenever it is made; nothing is packed but put together."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted((HERE / "fastgpu").rglob("*.py")):
            entry = zipfile.ZipInfo(path.relative_to(HERE).as_posix())
            entry.external_attr = MODE
            archive.writestr(entry, path.read_bytes())
    return made.getvalue()
