"""Whether what a server was started from is still what it would be started from now."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from clusters.backends.local import tools
from clusters.backends.local.shown import SDK_HERE

CODE = Path(__file__).resolve().parent


def build_stamp(environments: Path, slug: str) -> str:
    """Changes when the environment, the tools, the SDK, or the code that starts it does."""
    digest = hashlib.sha256()
    for path in (*_prefixes(environments / slug), *_prefixes(environments / tools.SLUG)):
        digest.update(_facts(path))
    for path in _files(SDK_HERE, CODE):
        digest.update(_facts(path))
    return digest.hexdigest()


def _prefixes(prefix: Path) -> tuple[Path, ...]:
    # `build_environments` makes a new folder, and moves it into place.
    return (prefix, prefix / "pyvenv.cfg")


def _files(*folders: Path) -> Iterable[Path]:
    for folder in folders:
        yield from sorted(folder.rglob("*.py"))


def _facts(path: Path) -> bytes:
    try:
        info = path.stat()
    except FileNotFoundError:
        return f"{path}\0".encode()
    facts = (info.st_dev, info.st_ino, info.st_ctime_ns, info.st_size)
    return f"{path}\0{facts}\0".encode()
