"""Debian packages: installs the missing ones as root, else says the one command to type.

Run by the Makefile with the system's Python before any virtual environment exists, so it uses the
standard library alone. Exit status 0 either way: `manage.py up` and the test runner each say what
they cannot do without a package.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys


def missing(packages: list[str]) -> list[str]:
    """Those of `packages` dpkg does not report as installed."""
    asked = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *packages],  # noqa: S607
        check=False,
        capture_output=True,
        text=True,
    )
    there = {line.split()[0] for line in asked.stdout.splitlines() if line.endswith(" installed")}
    return [package for package in packages if package not in there]


def main(packages: list[str]) -> int:
    """Install what is missing, or say how."""
    if shutil.which("dpkg-query") is None:
        sys.stderr.write(f"This is no Debian: please install {', '.join(packages)} your way.\n")
        return 0
    wanted = missing(packages)
    if not wanted:
        return 0
    if os.geteuid() != 0:
        sys.stderr.write(f"Missing packages. Type: sudo apt-get install -y {' '.join(wanted)}\n")
        return 0
    sys.stderr.write(f"installing Debian packages: {' '.join(wanted)}\n")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *wanted]
    for command in (["apt-get", "update", "-qq"], install):
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
        if done.returncode != 0:
            sys.stderr.write(f"{' '.join(command)} failed:\n{done.stderr[-1500:]}")
            return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
