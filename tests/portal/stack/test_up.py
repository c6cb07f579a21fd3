"""The whole stack: stopped in order, started again quickly, never twice on the same data."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path

import psutil
import pytest

from portal.stack.config import BASE_DIR
from tests.stacks.portal import Stack, start

pytestmark = [pytest.mark.stack, pytest.mark.timeout(400)]


def _descendants(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def test_interrupting_leaves_no_process_and_says_it_stopped(tmp_path: Path) -> None:
    stack = start(tmp_path / "var")
    family = _descendants(stack.process.pid)
    assert len(family) >= 8
    stack.stop()
    assert psutil.wait_procs(family, timeout=30)[1] == []
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


def test_what_goes_through_the_proxy_outlives_the_web_server(tmp_path: Path) -> None:
    stack = start(tmp_path / "var")
    kept = HTTPConnection("127.0.0.1", stack.port + 1)
    try:
        proxy, web = stack.pid_of("proxy"), stack.pid_of("web")
        assert _health(kept) == 200
        os.kill(web, signal.SIGKILL)
        _until(lambda: _new_pid(stack, "web", web))
        # Over the connection that was open before.
        assert _health(kept) == 200
        assert stack.pid_of("proxy") == proxy
    finally:
        kept.close()
        stack.stop()


def test_a_proxy_that_died_comes_back(tmp_path: Path) -> None:
    stack = start(tmp_path / "var")
    try:
        proxy = stack.pid_of("proxy")
        os.kill(proxy, signal.SIGKILL)
        _until(lambda: _new_pid(stack, "proxy", proxy))
        _until(lambda: _answers(stack.port + 1))
    finally:
        stack.stop()


def _health(connection: HTTPConnection) -> int:
    connection.request("GET", "/healthz", headers={"Host": "localhost"})
    answer = connection.getresponse()
    answer.read()
    return answer.status


def _answers(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port)
    try:
        return _health(connection) == 200
    except OSError:
        return False
    finally:
        connection.close()


def _new_pid(stack: Stack, name: str, old: int) -> bool:
    try:
        return stack.pid_of(name) != old
    except LookupError:
        return False


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


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
