"""Somebody with the demo's API key, for tests against a whole stack."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import httpx
import psycopg

from tests.stacks.portal import Stack


class Developer:
    """The demo's owner at the API."""

    def __init__(self, stack: Stack) -> None:
        self.http = httpx.Client(
            base_url=f"http://127.0.0.1:{stack.port}/api/v1",
            headers={"Authorization": f"Bearer {stack.demo['owner_api_key']}"},
            timeout=20,
        )

    def __enter__(self) -> Developer:
        return self

    def __exit__(self, *_error: object) -> None:
        self.http.close()

    def launch(self, command: str, **more: Any) -> str:
        """Launch a job on one GPU; returns its id."""
        body = {"name": "test", "pool": "a100", "gpus": 1, "command": command, **more}
        answer = self.http.post("/jobs", json=body)
        assert answer.status_code == 201, answer.text
        job_id: str = answer.json()["id"]
        return job_id

    def job(self, job_id: str) -> dict[str, Any]:
        """The job as it stands."""
        answer = self.http.get(f"/jobs/{job_id}")
        assert answer.status_code == 200, answer.text
        seen: dict[str, Any] = answer.json()
        return seen

    def log(self, job_id: str) -> str:
        """The whole log, page by page."""
        text: str = ""
        offset = 0
        while True:
            page = self.http.get(f"/jobs/{job_id}/logs", params={"offset": offset}).json()
            text += page["text"]
            if page["next_offset"] == offset:
                return text
            offset = page["next_offset"]

    def ended(self, job_id: str, *, seconds: float = 120) -> dict[str, Any]:
        """The job once it has ended."""
        final = {"succeeded", "failed", "cancelled"}
        until(lambda: self.job(job_id)["status"] in final, seconds=seconds)
        return self.job(job_id)


def until(look: Callable[[], Any], *, seconds: float = 60) -> Any:
    """Ask again until the answer is true; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (seen := look()):
        assert time.monotonic() < deadline, f"still {seen!r} after {seconds} s"
        time.sleep(0.1)
    return seen


def check_cost(job: dict[str, Any]) -> None:
    """Price times seconds, to the micro-unit."""
    microseconds = round(job["billed_seconds"] * 1_000_000)
    price = job["price_micros_per_gpu_hour"] * job["gpus"]
    assert job["cost_micros"] == price * microseconds // 3_600_000_000


def ask_database(stack: Stack, question: str, *values: Any) -> list[tuple[Any, ...]]:
    """Rows of the stack's own database, for what no page shows."""
    with psycopg.connect(stack.database_url) as connection:
        return connection.execute(question.encode(), values).fetchall()
