"""`manage.py build_environments`: makes the prepared environments workloads run in.

Each has a lock file in clusters/environments. It is built beside its place and moved there when
whole, so a half-built one is never used, and is built again when its lock file changes.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

LOCKS = Path(__file__).resolve().parents[2] / "environments"
STAMP = "fastgpu-lock.sha256"


class Command(BaseCommand):
    """Builds what is missing or out of date."""

    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Names of environments; none means all."""
        parser.add_argument("names", nargs="*")

    def handle(self, *_args: Any, names: list[str], **_options: Any) -> None:
        """Build each named environment. Raises CommandError when pip does."""
        locks = {lock.stem: lock for lock in sorted(LOCKS.glob("*.txt"))}
        unknown = set(names) - set(locks)
        if unknown:
            raise CommandError(f"Unknown: {', '.join(unknown)}. There are: {', '.join(locks)}.")
        os.umask(0o022)  # sandboxes read it under another uid
        for name in names or locks:
            self._build(name, locks[name])

    def _build(self, name: str, lock: Path) -> None:
        target: Path = settings.ENVIRONMENTS_DIR / name
        digest = hashlib.sha256(lock.read_bytes()).hexdigest()
        stamp = target / STAMP
        if stamp.is_file() and stamp.read_text() == digest:
            return
        self.stdout.write(f"building environment {name}")
        fresh = target.with_name(f".{name}.new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.parent.mkdir(parents=True, exist_ok=True)
        python = self._interpreter()
        self._run([python, "-m", "venv", "--without-pip", str(fresh)])
        self._run(
            [
                sys.executable,
                "-m",
                "pip",
                "--quiet",
                "--disable-pip-version-check",
                "--python",
                str(fresh / "bin/python"),
                "install",
                "--require-hashes",
                "--only-binary",
                ":all:",
                "-r",
                str(lock),
            ]
        )
        _readdress(fresh)
        (fresh / STAMP).write_text(digest)
        shutil.rmtree(target, ignore_errors=True)
        fresh.rename(target)

    @staticmethod
    def _interpreter() -> str:
        """The system's Python where it will do: sandboxes see /usr; else the portal's own base."""
        system = Path("/usr/bin/python3")
        if system.exists():
            asked = subprocess.run(
                [system, "-c", "import sys, venv; sys.exit(sys.version_info < (3, 11))"],
                check=False,
                capture_output=True,
            )
            if asked.returncode == 0:
                return str(system)
        return str(Path(sys.base_prefix) / "bin" / "python3")

    def _run(self, command: list[str]) -> None:
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode != 0:
            raise CommandError(f"{' '.join(command[:4])} failed:\n{done.stderr[-2000:]}")


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
