"""The whole stack: stopped in order, started again quickly, never twice on the same data."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from portal.stack.config import BASE_DIR
from tests.stacks.portal import start

pytestmark = [pytest.mark.stack, pytest.mark.timeout(400)]


def _descendants(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def test_interrupting_leaves_no_process_and_says_it_stopped(tmp_path: Path) -> None:
    stack = start(tmp_path / "var")
    family = _descendants(stack.process.pid)
    assert len(family) >= 8
    stack.stop()
    assert psutil.wait_procs(family, timeout=5)[1] == []
    assert stack.process.returncode == 0
    assert "up             | stopped" in stack.log.read_text(encoding="utf-8")


def test_a_later_start_keeps_what_was_there(tmp_path: Path) -> None:
    first = start(tmp_path / "var")
    demo = first.demo
    first.stop()
    second = start(tmp_path / "var", port=first.port)
    second.stop()
    assert second.demo == demo


def test_a_stack_killed_whole_starts_again(tmp_path: Path) -> None:
    first = start(tmp_path / "var")
    family = _descendants(first.process.pid)
    first.process.kill()
    for process in family:
        if process.is_running():
            process.kill()
    first.process.wait()
    start(tmp_path / "var", port=first.port).stop()


def test_a_second_up_on_the_same_data_is_refused(tmp_path: Path) -> None:
    stack = start(tmp_path / "var")
    try:
        again = subprocess.run(
            [sys.executable, "manage.py", "up"],
            cwd=BASE_DIR,
            env={"PATH": os.environ["PATH"], "VAR_DIR": str(stack.var), "PORT": "8999"},
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        stack.stop()
    assert again.returncode == 1
    assert again.stderr.count("\n") == 1
    assert f"already runs on {stack.var} (process {stack.process.pid})" in again.stderr
