"""Prepared environments for tests of whole stacks, kept between runs of the suite."""

from __future__ import annotations

import fcntl
import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

LOCKS = Path(__file__).resolve().parents[1] / "environments"
OURS = Path(__file__).resolve().parents[2] / "clusters" / "environments"
# Where every Unix user may walk to: a team's jobs on Slurm run as one of their own.
KEPT = Path("/var/tmp")
PYTHON = "/usr/bin/python3"


def prepared(name: str, locks: Path = LOCKS) -> Path:
    """A folder that holds the environment `name`, built if its lock file in `locks` is new.

    One process builds it, and others of the suite wait for it.
    """
    lock = locks / f"{name}.txt"
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()[:12]
    folder = KEPT / f"fastgpu-tests-{name}-{digest}"
    with folder.with_suffix(".lock").open("ab") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        if not folder.is_dir():
            _build(name, lock, folder)
    return folder


def _build(name: str, lock: Path, folder: Path) -> None:
    """Beside its place, then renamed: a build that is cut off leaves no half of one."""
    fresh = Path(tempfile.mkdtemp(prefix=f"{folder.name}-", dir=KEPT))
    fresh.chmod(0o755)
    target = fresh / name
    _run([PYTHON, "-m", "venv", "--without-pip", str(target)])
    interpreter = str(target / "bin" / "python")
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    _run([*pip, "--python", interpreter, "install", "--only-binary", ":all:", "-r", str(lock)])
    fresh.rename(folder)
    # The scripts name their interpreter by its full path.
    for script in (folder / name / "bin").iterdir():
        if script.is_file() and not script.is_symlink():
            _readdress(script, str(fresh), str(folder))


def _readdress(script: Path, old: str, new: str) -> None:
    text = script.read_bytes()
    if old.encode() in text:
        script.write_bytes(text.replace(old.encode(), new.encode()))


def _run(command: list[str]) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
