"""Recipes of the prepared environments: their lock files, and which of two fits a machine.

`<name>.txt` locks an environment. Where `<name>.cpu.txt` lies beside it, the one is for machines
with NVIDIA GPUs and the other for those without. `<lock>.unhashed` names what no index is sure to
carry, so that its hashes cannot be locked. Nothing of Django here: the supervisor of `make up` asks
too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

OURS = Path(__file__).resolve().parent / "environments"
FIRST = ("python-data", "tools")
"""What `make up` builds. The others are large: they wait until somebody asks for them."""
STAMP = "fastgpu-lock.sha256"
"""A file in a built environment that says what it was built from."""
DRIVER = Path("/proc/driver/nvidia/version")


class Kind(StrEnum):
    """Which machines an environment is for."""

    CPU = "cpu"
    GPU = "gpu"


@dataclass(frozen=True, slots=True)
class Recipe:
    """One lock file. `kind` None: the same for every machine."""

    name: str
    lock: Path
    kind: Kind | None

    @property
    def unhashed(self) -> Path | None:
        """The requirements that follow the lock file without hashes, if any."""
        path = self.lock.with_suffix(".unhashed")
        return path if path.is_file() else None

    @property
    def digest(self) -> str:
        """Changes when anything that it is built from does."""
        parts = [self.lock, *([self.unhashed] if self.unhashed else [])]
        return hashlib.sha256(b"\0".join(path.read_bytes() for path in parts)).hexdigest()

    @property
    def stamp(self) -> str:
        """What its built environment carries in STAMP."""
        return f"{self.lock.name} {self.digest}\n"


def recipes(folder: Path = OURS) -> dict[str, list[Recipe]]:
    """The recipes in `folder` by the name of their environment."""
    found: dict[str, list[Recipe]] = {}
    for lock in sorted(folder.glob("*.txt")):
        name = lock.stem.removesuffix(f".{Kind.CPU}")
        has_two = (folder / f"{name}.{Kind.CPU}.txt").is_file()
        kind = (Kind.GPU if lock.stem == name else Kind.CPU) if has_two else None
        found.setdefault(name, []).append(Recipe(name, lock, kind))
    return found


def choose(
    choices: Sequence[Recipe], wanted: Kind | None, *, built: str, has_driver: bool
) -> Recipe:
    """The recipe of one environment to build.

    The kind that is wanted; else, so that nobody's choice is undone, the kind of the build whose
    stamp is `built`; else what the machine has a driver for.
    """
    by_kind = {recipe.kind: recipe for recipe in choices}
    kept = next((r.kind for r in choices if built.startswith(f"{r.lock.name} ")), None)
    kind = wanted or kept or (Kind.GPU if has_driver else Kind.CPU)
    return by_kind.get(kind) or choices[0]


def has_driver(path: Path = DRIVER) -> bool:
    """Whether this machine has NVIDIA's driver."""
    return path.exists()


def stamp_of(environment: Path) -> str:
    """What the environment was built from; "" where that is not known."""
    try:
        return (environment / STAMP).read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return ""


def missing(environments: Path, folder: Path = OURS) -> list[str]:
    """The names of those that have not been built at all."""
    return [name for name in recipes(folder) if not stamp_of(environments / name)]


def are_current(environments: Path, names: Sequence[str], folder: Path = OURS) -> bool:
    """Whether each of `names` is there as one of its recipes wants it."""
    known = recipes(folder)
    return all(
        stamp_of(environments / name) in {recipe.stamp for recipe in known[name]} for name in names
    )
