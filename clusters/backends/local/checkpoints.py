"""Checkpoint folders: one for each run, the same for all its attempts.

They lie in `<root>/checkpoints/team-<number>/<run id>`, so that a run id never leads to another
team's, and belong to the team's uid with mode 0700.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from clusters.backends.base import LaunchRefused, LaunchSpec

RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}")
FOLDER = "checkpoints"
"""Its name in the home, and before its files where output files are listed."""


def make(root: Path, spec: LaunchSpec, uid: int | None) -> Path:
    """The folder of the spec's run, made when it is not there. Raises LaunchRefused, OSError."""
    if not RUN_ID.fullmatch(spec.run_id):
        raise LaunchRefused(f"{spec.run_id!r} cannot name a run.")
    team = root / FOLDER / f"team-{spec.team_number}"
    team.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = team / spec.run_id
    folder.mkdir(mode=0o700, exist_ok=True)
    if uid is not None:
        # Both lie in folders that only the portal can write, so neither is a link.
        os.chown(folder, uid, uid)
    return folder
