"""Processes that share the suite's database, each for one life."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from django.db import connection

from tests.stacks.portal import ROOT


@contextmanager
def forking(module: str, root: Path) -> Iterator[subprocess.Popen[str]]:
    """A zygote for the lives that `module` describes; their engines lie below `root`."""
    database = urlsplit(os.environ["DATABASE_URL"])
    name = str(connection.settings_dict["NAME"])
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.chaos.zygote", module],
        cwd=ROOT,
        env={
            **os.environ,
            "DATABASE_URL": database._replace(path=f"/{name}").geturl(),
            "DJANGO_SETTINGS_MODULE": "tests.chaos.settings",
            "CHAOS_ROOT": str(root),
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "sdk" / "src")]),
            "LOG_LEVEL": "ERROR",
        },
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    yield process
    process.stdin.close()
    process.wait(20)
    process.stdout.close()


def life_in(zygote: subprocess.Popen[str], order: str) -> bool:
    """Live one order; whether the process survived it."""
    assert zygote.stdin is not None
    assert zygote.stdout is not None
    zygote.stdin.write(order + "\n")
    zygote.stdin.flush()
    status = int(zygote.stdout.readline())
    assert status in (0, -9), "the process failed, its words are above"
    return status == 0
