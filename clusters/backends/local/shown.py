"""What of this machine an attempt is shown, whatever runs it: bubblewrap or a container."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from clusters.backends.base import LaunchRefused, LaunchSpec, ReadFolder
from clusters.backends.links import open_without_links
from clusters.backends.local.checkpoints import FOLDER as CHECKPOINTS_FOLDER
from clusters.backends.volumes import FOLDER as VOLUMES_FOLDER

HOME = "/home/run"
CHECKPOINTS = f"{HOME}/checkpoints"
INSIDE = "/run/fastgpu"
SERVE = "/run/serve"
WORKSPACE = "/workspace"
SOCKETS = {"lab": "lab.sock", "tensorboard": "lab.sock", "terminal": "terminal.sock"}
"""What may be served -> its socket in SERVE: the command's own, and the terminal's beside it."""
SDK = "/opt/fastgpu"
"""Where Python finds the SDK: a folder with nothing else in it, so that it hides nothing."""
SDK_HERE = Path(__file__).resolve().parents[3] / "sdk" / "src" / "fastgpu"
TAKEN = frozenset({
    "bin", "boot", "dev", "etc", "home", "lib", "lib32", "lib64", "libx32", "opt", "proc", "root",
    "run", "sbin", "sys", "tmp", "usr", "var", "workspace",
})  # fmt: skip
"""First parts of paths that a folder shown on request may not have."""


@dataclass(frozen=True, slots=True)
class Mount:
    """A folder of this machine and where it is seen inside.

    `owner`: the uid whose files they are, where that is not the attempt's. `has_no_links`: none
    may be followed to get to `source`, whoever has put one there.
    """

    source: Path
    target: str
    is_writable: bool = False
    owner: int | None = None
    has_no_links: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """Where the attempt's own things lie on this machine, and who it runs as.

    `uid` None: as the portal. `token` is what its servers demand. None of the folders: it has
    none, or not yet.
    """

    folder: Path
    checkpoints: Path | None
    uid: int | None
    tag: str
    token: str = ""
    volume: Path | None = None


@dataclass(frozen=True, slots=True)
class Paths:
    """The same as the attempt finds it; "" for what it has not."""

    home: str = HOME
    checkpoints: str = CHECKPOINTS
    serve: str = SERVE
    workspace: str = ""
    sdk: str = SDK

    @property
    def start(self) -> str:
        """Where its command starts."""
        return self.workspace or self.home


def inside(place: Place) -> Paths:
    """Paths in a sandbox or a container."""
    return Paths(workspace=WORKSPACE if place.volume else "")


def outside(place: Place) -> Paths:
    """Paths where nothing is hidden."""
    return Paths(
        home=str(place.folder / "home"),
        checkpoints=str(place.checkpoints or ""),
        serve=str(place.folder / "serve"),
        workspace=str(place.volume or ""),
        sdk=str(SDK_HERE.parent),
    )


def mounts(place: Place, extra: Sequence[Mount]) -> list[Mount]:
    """All of it that does not depend on the environment, in the order of mounting."""
    own = [
        Mount(SDK_HERE, f"{SDK}/fastgpu"),
        Mount(place.folder / "inside", INSIDE),
        Mount(place.folder / "home", HOME, is_writable=True),
        Mount(place.folder / "serve", SERVE, is_writable=True),
    ]
    for folder, target in ((place.checkpoints, CHECKPOINTS), (place.volume, WORKSPACE)):
        if folder:
            own.append(Mount(folder, target, is_writable=True))
    return [*own, *extra]


def reads(spec: LaunchSpec, root: Path, uid: int | None) -> list[Mount]:
    """The folders that the spec wants to read. Raises LaunchRefused for one that may not be."""
    return [_read(folder, root, uid) for folder in spec.reads]


def _read(wanted: ReadFolder, root: Path, uid: int | None) -> Mount:
    target = PurePosixPath(wanted.inside)
    is_plain = "\0" not in wanted.host + wanted.inside and ".." not in target.parts
    if not is_plain or len(target.parts) < 2 or target.parts[0] != "/" or target.parts[1] in TAKEN:
        raise LaunchRefused(f"Nothing can be shown as {wanted.inside!r}: that place is taken.")
    host = Path(wanted.host)
    if not host.is_absolute() or ".." in host.parts:
        raise LaunchRefused(f"{wanted.host} cannot be shown: it is no plain path.")
    try:
        folder = open_without_links(str(host))
    except NotADirectoryError as error:
        words = f"{wanted.host} cannot be shown: it is no folder, or a link leads there."
        raise LaunchRefused(words) from error
    except OSError as error:
        raise LaunchRefused(f"{wanted.host} cannot be shown: {error.strerror}.") from error
    try:
        owner = os.fstat(folder).st_uid
    finally:
        os.close(folder)
    found = Mount(host, str(target), has_no_links=True)
    if not host.is_relative_to(root.resolve()):
        return found
    if not _is_the_portals(host.relative_to(root.resolve()).parts):
        raise LaunchRefused(f"{wanted.host} cannot be shown: it lies where attempts write.")
    return replace(found, owner=None if owner == uid else owner)


def _is_the_portals(parts: tuple[str, ...]) -> bool:
    """Whether it lies in a folder that only the portal can write, so that it can be no link."""
    match parts:
        case ("attempts", _, "home"):
            return True
        case (first, _, _):
            return first == CHECKPOINTS_FOLDER
        case (first, _):
            return first == VOLUMES_FOLDER
    return False
