"""Where on this machine lies what an attempt keeps."""

from __future__ import annotations

from pathlib import Path

from clusters.backends.base import BackendUnavailable
from clusters.backends.slurm.folders import Record, SharedFolder
from clusters.backends.slurm.script import read_plan


def folders_of(record: Record, shared: SharedFolder) -> dict[str, Path]:
    """See Folders.folders_of. Raises BackendUnavailable when the disk says no."""
    try:
        return {name: path for name, path in _places(record, shared).items() if path.is_dir()}
    except OSError as error:
        raise BackendUnavailable(f"The shared folder cannot be read: {error}") from error


def _places(record: Record, shared: SharedFolder) -> dict[str, Path]:
    """The same, there or not."""
    root = shared.root.resolve()
    # One that Slurm put back into its queue works where it first began.
    origin = root / "attempts" / record.origin
    try:
        plan = read_plan(origin)
    except FileNotFoundError:
        return {}
    # Compute nodes may know the root by another name: what counts is where it lies below.
    named = {name: Path(plan.get(name, "")) for name in ("checkpoints", "workspace")}
    found = {name: root / path.parent.name / path.name for name, path in named.items() if path.name}
    if shared.has_begun(record):
        found["home"] = origin / "starts" / record.start / "home"
    return found
