"""The Slurm backend's settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class SlurmSettings:
    """How to reach one Slurm cluster and where its shared folder is.

    `root`: a folder on a file system that the portal and every compute node see at the same
    path. `conf`: a slurm.conf other than the default. `rest_url` and `jwt_key`: slurmrestd and
    the HS256 key it accepts; without both only the command line tools are used. `bin`: a folder
    that holds the tools, where they are not in the usual places. `user_template` names the
    Unix user of a team: `{number}` in it stands for the team's number.
    """

    root: Path
    environments: Path | None = None
    conf: str = ""
    bin: Path | None = None
    rest_url: str = ""
    jwt_key: Path | None = None
    api_version: str = "v0.0.38"
    user_template: str = "fg-team{number}"
    create_users: bool = False
    uid_base: int = 300_000
