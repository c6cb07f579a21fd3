"""Environments: what an attempt may run in.

`<folder>/<slug>/` is a read-only prefix with its own Python, for bubblewrap. `<folder>/<slug>.toml`
names an OCI image, for docker or podman; all that it holds is `image = "name:tag"`.
"""

from __future__ import annotations

import re
import stat
import tomllib
from dataclasses import dataclass
from pathlib import Path

from clusters.backends.base import EndReason, LaunchRefused

INSIDE = Path("/opt/environments")
SYSTEM_SLUGS = ("", "system")
SLUG = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
SYSTEM_ROOTS = ("/usr", "/bin", "/lib", "/lib64", "/sbin")


@dataclass(frozen=True, slots=True)
class Environment:
    """What to show of an environment: host folder -> path inside; `prefix` as seen inside.

    `image` is the OCI image that it is instead, "" where it is none.
    """

    prefix: Path | None
    binds: tuple[tuple[Path, Path], ...]
    image: str = ""


SYSTEM = Environment(prefix=None, binds=())


def resolve(environments: Path, slug: str) -> Environment:
    """The environment `slug` below the folder `environments`; "" and "system" are the bare system.

    Raises LaunchRefused (IMAGE_MISSING) when there is none of that name or it is broken.
    """
    if slug in SYSTEM_SLUGS:
        return SYSTEM
    prefix = environments / slug
    if not SLUG.fullmatch(slug):
        raise _missing(f"There is no environment {slug!r}.")
    if not prefix.is_dir():
        return Environment(None, (), image=_image(environments / f"{slug}.toml", slug))
    try:
        mode = (prefix / "bin" / "python").stat().st_mode
    except OSError:
        mode = 0
    if not stat.S_ISREG(mode):
        raise _missing(f"The environment {slug!r} is broken: it has no bin/python.")
    inside = INSIDE / slug
    bases = tuple((path, path) for path in _base_prefixes(prefix))
    return Environment(prefix=inside, binds=((prefix.resolve(), inside), *bases))


def names(environments: Path) -> tuple[str, ...]:
    """The slugs of all that work can run in, the bare system among them."""
    prefixes = (python.parent.parent.name for python in environments.glob("*/bin/python"))
    images = (path.stem for path in environments.glob("*.toml"))
    found = {slug for slug in (*prefixes, *images) if SLUG.fullmatch(slug)}
    return ("system", *sorted(found - {"system"}))


def has_images(environments: Path) -> bool:
    """Whether any environment is an OCI image."""
    return any(environments.glob("*.toml"))


def _image(description: Path, slug: str) -> str:
    try:
        document = tomllib.loads(description.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise _missing(f"There is no environment {slug!r}.") from None
    except (OSError, ValueError) as error:
        raise _missing(f"The environment {slug!r} cannot be read: {error}") from error
    image = document.get("image")
    if set(document) != {"image"} or not isinstance(image, str) or not image.strip():
        raise _missing(f'{description.name} must hold one line, image = "name:tag".')
    return image.strip()


def _missing(words: str) -> LaunchRefused:
    return LaunchRefused(words, reason=EndReason.IMAGE_MISSING)


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
