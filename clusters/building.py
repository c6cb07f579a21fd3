"""Builds prepared environments: beside their place, then into it when whole."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from clusters.recipes import STAMP, Kind, Recipe, stamp_of

PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")
SYSTEM_PYTHON = Path("/usr/bin/python3")
FOR_WHOM = {Kind.CPU: " for machines without a GPU", Kind.GPU: " for machines with NVIDIA GPUs"}


class BuildFailed(Exception):
    """The environment was not built; what was there before still is."""


def build(recipe: Recipe, environments: Path, say: Callable[[str], None]) -> bool:
    """Make `environments/<name>` what the recipe says; False where it is. Raises BuildFailed.

    The name is a link to a folder beside it, and changing to another is one step: what is launched
    meanwhile finds the one or the other. The folder before is kept until the next build, for what
    runs in it. Of two builders at once the second waits.
    """
    environments.mkdir(parents=True, exist_ok=True)
    with (environments / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp_of(environments / recipe.name) == recipe.stamp:
            return False
        whom = FOR_WHOM[recipe.kind] if recipe.kind else ""
        say(f"building environment {recipe.name}{whom}")
        _build(recipe, environments, say)
    return True


def _build(recipe: Recipe, environments: Path, say: Callable[[str], None]) -> None:
    fresh = environments / f".{recipe.name}-{recipe.digest[:12]}"
    shutil.rmtree(fresh, ignore_errors=True)
    _run([_interpreter(), "-m", "venv", "--without-pip", str(fresh)])
    python = str(fresh / "bin" / "python")
    options = ("--no-deps", "--no-compile", "--only-binary", ":all:")
    install = [*PIP, "--python", python, "install", "--quiet", *options]
    _run([*install, "--require-hashes", "-r", str(recipe.lock)])
    if recipe.unhashed:
        _install_unhashed(recipe.unhashed, install, say)
    _run([*PIP, "--python", python, "check"])
    _readdress(fresh)
    _compile(python, fresh)
    (fresh / STAMP).write_text(recipe.stamp, encoding="utf-8")
    before = _switch(environments / recipe.name, fresh)
    builds = re.compile(rf"\.{re.escape(recipe.name)}-([0-9a-f]{{12}}|before)")
    for other in environments.iterdir():
        if builds.fullmatch(other.name) and other not in (fresh, before):
            shutil.rmtree(other)


def _install_unhashed(requirements: Path, install: list[str], say: Callable[[str], None]) -> None:
    words = requirements.read_text(encoding="utf-8").split()
    say(f"  {', '.join(words)} comes without a hash to check, from wherever pip is told to look")
    try:
        _run([*install, "-r", str(requirements)])
    except BuildFailed as error:
        raise BuildFailed(
            f"{error}\nWhere pip looks there is no {', '.join(words)}. Let it look where there is, "
            "with PIP_EXTRA_INDEX_URL or PIP_FIND_LINKS, or build for GPUs with --gpu."
        ) from error


def _compile(python: str, prefix: Path) -> None:
    """Compile modules on all cores, as sandboxes cannot: they only read it.

    What does not compile is meant for another Python, and nothing is lost by it.
    """
    (packages,) = prefix.glob("lib/python3*/site-packages")
    command = [python, "-m", "compileall", "-q", "-j", "0", "-x", "/tests/", str(packages)]
    subprocess.run(command, check=False, capture_output=True)


def _interpreter() -> str:
    """The system's Python where it will do: sandboxes see /usr; else the portal's own base."""
    if SYSTEM_PYTHON.exists():
        asked = subprocess.run(
            [SYSTEM_PYTHON, "-c", "import sys, venv; sys.exit(sys.version_info < (3, 11))"],
            check=False,
            capture_output=True,
        )
        if asked.returncode == 0:
            return str(SYSTEM_PYTHON)
    return str(Path(sys.base_prefix) / "bin" / "python3")


def _readdress(prefix: Path) -> None:
    """Let scripts find their interpreter by PATH: a sandbox shows them at another place."""
    own = f"#!{prefix / 'bin'}/python".encode()
    for script in (prefix / "bin").iterdir():
        if script.is_symlink() or not script.is_file():
            continue
        text = script.read_bytes()
        if text.startswith(own):
            _, newline, rest = text.partition(b"\n")
            script.write_bytes(b"#!/usr/bin/env python3" + newline + rest)


def _switch(target: Path, fresh: Path) -> Path:
    """Let `target` lead to `fresh`; returns the folder it led to before."""
    before = target.resolve()
    if target.is_dir() and not target.is_symlink():
        before = target.with_name(f".{target.name}-before")
        shutil.rmtree(before, ignore_errors=True)
        target.rename(before)
    link = target.with_name(f".{target.name}.link")
    link.unlink(missing_ok=True)
    link.symlink_to(fresh.name)
    link.replace(target)
    return before


def _run(command: list[str]) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=os.environ)
    if done.returncode != 0:
        said = (done.stderr + done.stdout)[-2000:]
        raise BuildFailed(f"{' '.join(command[:4])} failed:\n{said}")
