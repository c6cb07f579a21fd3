"""Environments: read-only prefixes with their own Python that an attempt may run in."""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass
from pathlib import Path

from clusters.backends.base import LaunchRefused

INSIDE = Path("/opt/environments")
SYSTEM_SLUGS = ("", "system")
SLUG = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
SYSTEM_ROOTS = ("/usr", "/bin", "/lib", "/lib64", "/sbin")


@dataclass(frozen=True, slots=True)
class Environment:
    """What to show of an environment: host folder -> path inside; `prefix` as seen inside."""

    prefix: Path | None
    binds: tuple[tuple[Path, Path], ...]


SYSTEM = Environment(prefix=None, binds=())


def resolve(environments: Path, slug: str) -> Environment:
    """The environment `slug` below the folder `environments`; "" and "system" are the bare system.

    Raises LaunchRefused when there is none of that name or it has no working `bin/python`.
    """
    if slug in SYSTEM_SLUGS:
        return SYSTEM
    prefix = environments / slug
    if not SLUG.fullmatch(slug) or not prefix.is_dir():
        raise LaunchRefused(f"There is no environment {slug!r}.")
    try:
        mode = (prefix / "bin" / "python").stat().st_mode
    except OSError:
        mode = 0
    if not stat.S_ISREG(mode):
        raise LaunchRefused(f"The environment {slug!r} is broken: it has no bin/python.")
    inside = INSIDE / slug
    bases = tuple((path, path) for path in _base_prefixes(prefix))
    return Environment(prefix=inside, binds=((prefix.resolve(), inside), *bases))


def _base_prefixes(prefix: Path) -> list[Path]:
    """Folders of the interpreter a venv leans on, under every name by which it is reached."""
    found: list[Path] = []
    config = prefix / "pyvenv.cfg"
    if config.is_file():
        for line in config.read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition("=")
            if key.strip() == "home":
                found.append(Path(value.strip()).parent)
    link = prefix / "bin" / "python"
    while link.is_symlink():
        target = link.readlink()
        link = target if target.is_absolute() else link.parent / target
        found.append(link.parent.parent)
    found.append((prefix / "bin" / "python").resolve().parent.parent)
    kept: list[Path] = []
    for path in found:
        inner = path.is_relative_to(prefix) or path.resolve().is_relative_to(prefix.resolve())
        system = path == Path("/") or str(path).startswith(SYSTEM_ROOTS)
        if not inner and not system and path not in kept:
            kept.append(path)
    return kept
