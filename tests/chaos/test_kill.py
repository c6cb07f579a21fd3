"""SIGKILL to parts of a real stack while a job runs: the same process goes on, billed once."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.browser.portal import Stack, start

COUNTING = """exec python3 -u -c '
import time
for i in range(60):
    print("line", i)
    time.sleep(0.5)
'"""
pytestmark = [pytest.mark.stack, pytest.mark.timeout(400)]


class Developer:
    """Somebody with the demo's API key."""

    def __init__(self, stack: Stack) -> None:
        self.http = httpx.Client(
            base_url=f"http://127.0.0.1:{stack.port}/api/v1",
            headers={"Authorization": f"Bearer {stack.demo['owner_api_key']}"},
            timeout=20,
        )

    def launch(self, command: str, **more: Any) -> str:
        body = {"name": "kill test", "pool": "a100", "gpus": 1, "command": command, **more}
        answer = self.http.post("/jobs", json=body)
        assert answer.status_code == 201, answer.text
        job_id: str = answer.json()["id"]
        return job_id

    def job(self, job_id: str) -> dict[str, Any]:
        answer = self.http.get(f"/jobs/{job_id}")
        assert answer.status_code == 200, answer.text
        seen: dict[str, Any] = answer.json()
        return seen

    def log(self, job_id: str) -> str:
        text: str = self.http.get(f"/jobs/{job_id}/logs?offset=0").json()["text"]
        return text


def until(look: Callable[[], Any], *, seconds: float = 60) -> Any:
    """Ask again until the answer is true; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (seen := look()):
        assert time.monotonic() < deadline, f"still {seen!r} after {seconds} s"
        time.sleep(0.1)
    return seen


def _check_billed_once(developer: Developer, job_id: str) -> None:
    job = developer.job(job_id)
    seconds = round(job["billed_seconds"] * 1_000_000)
    assert job["cost_micros"] == job["price_micros_per_gpu_hour"] * seconds // 3_600_000_000
    started, ended = (_instant(job[name]) for name in ("started_at", "ended_at"))
    assert abs((ended - started) - job["billed_seconds"]) < 1e-4


def _instant(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def test_killing_parts_and_the_whole_stack_loses_nothing(tmp_path: Path) -> None:
    stack = start(tmp_path / "var")
    try:
        developer = Developer(stack)
        job_id = developer.launch(
            COUNTING,
            environment="system",
            env={"MARKER": "kill-test"},
        )
        until(lambda: developer.job(job_id)["status"] == "running")
        until(lambda: "line 2" in developer.log(job_id))
        before = _running("kill-test")

        for part in ("web", "worker"):
            os.kill(stack.pid_of(part), signal.SIGKILL)
            until(lambda: _answers(developer, job_id))
            assert _running("kill-test") == before

        os.killpg(stack.process.pid, signal.SIGKILL)
        stack.process.wait(20)
        assert _running("kill-test") == before
        stack = start(tmp_path / "var", port=stack.port)
        assert _running("kill-test") == before
        assert developer.job(job_id)["status"] == "running"

        until(lambda: developer.job(job_id)["status"] == "succeeded", seconds=90)
        lines = developer.log(job_id).split("\n")
        assert lines == [*(f"line {i}" for i in range(60)), ""]
        _check_billed_once(developer, job_id)
    finally:
        stack.stop()


def _answers(developer: Developer, job_id: str) -> bool:
    try:
        return bool(developer.job(job_id)["status"] == "running")
    except httpx.HTTPError:
        return False


def _running(marker: str) -> tuple[int, float]:
    """Process id and start time of the one process that carries the marker and is not a shell."""
    found = [
        (process.pid, process.create_time())
        for process in psutil.process_iter(["name"])
        if process.info["name"].startswith("python3") and _marker(process) == marker
    ]
    assert len(found) == 1, found
    return found[0]


def _marker(process: psutil.Process) -> str:
    try:
        return process.environ().get("MARKER", "")
    except psutil.Error:
        return ""
