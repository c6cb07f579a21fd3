"""SIGKILL to parts of a real stack while a job runs: the same process goes on, billed once."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.stacks.developer import Developer, ask_database, check_cost, until
from tests.stacks.portal import Stack, start

COUNTING = """exec python3 -u -c '
import time
for i in range(60):
    print("line", i)
    time.sleep(0.5)
'"""
pytestmark = [pytest.mark.stack, pytest.mark.timeout(400)]


def _check_billed_once(stack: Stack, job: dict[str, Any]) -> None:
    check_cost(job)
    seconds = _instant(job["ended_at"]) - _instant(job["started_at"])
    assert abs(seconds - job["billed_seconds"]) < 1e-4
    posted = ask_database(
        stack,
        "SELECT count(DISTINCT i.id), sum(r.amount_micros) FROM billing_usageinterval i"
        " JOIN billing_ratedusage r ON r.interval_id = i.id WHERE i.resource_public_id = %s",
        job["id"],
    )
    assert posted == [(1, job["cost_micros"])]


def _instant(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def test_killing_parts_and_the_whole_stack_loses_nothing(tmp_path: Path) -> None:
    stack = start(tmp_path / "var")
    with Developer(stack) as developer, ExitStack() as cleanup:

        def stop_the_latest() -> None:
            stack.stop()

        cleanup.callback(stop_the_latest)
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
        _check_billed_once(stack, developer.job(job_id))


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
