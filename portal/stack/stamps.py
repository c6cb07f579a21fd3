"""What earlier starts have done already, so that a later one need not load Django to look."""

from __future__ import annotations

import hashlib
import sysconfig
from pathlib import Path

from clusters import recipes
from portal.stack.config import BASE_DIR
from portal.stack.layout import Layout, write_private

_APPS = ("accounts", "billing", "clusters", "portal")


def schema_digest() -> str:
    """Changes when any migration does: ours by content, those of packages by their version."""
    digest = hashlib.sha256()
    for app in _APPS:
        for path in sorted((BASE_DIR / app / "migrations").glob("*.py")):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    packages = Path(sysconfig.get_paths()["purelib"]).glob("*.dist-info")
    for name in sorted(path.name for path in packages):
        digest.update(name.encode() + b"\0")
    return digest.hexdigest()


def is_migrated(layout: Layout) -> bool:
    """Whether the embedded database has had every migration of this code."""
    try:
        return _stamp(layout).read_text(encoding="ascii") == schema_digest()
    except FileNotFoundError:
        return False


def remember_migrated(layout: Layout, digest: str) -> None:
    """Write down that every migration counted in `digest` was applied."""
    write_private(_stamp(layout), digest)


def are_built(layout: Layout) -> bool:
    """Whether `build_environments` would find what it builds at a start as it should be."""
    # Asking the command would cost a second of imports.
    return recipes.are_current(layout.environments, recipes.FIRST)


def _stamp(layout: Layout) -> Path:
    # With the data, so that both go, and are brought back, together.
    return layout.postgres / "cluster" / "migrated"
