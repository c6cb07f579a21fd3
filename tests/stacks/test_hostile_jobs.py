"""Jobs that misbehave harm only themselves and end as they should."""

from __future__ import annotations

import pytest

from tests.stacks.developer import Developer, check_cost, until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]


@pytest.mark.parametrize(
    ("command", "status", "reason"),
    [
        ("true", "succeeded", "completed"),
        ("exit 3", "failed", "user_error"),
        ("head -c 1000000000 /dev/zero | tr '\\0' x", "succeeded", "completed"),
        ("sleep 60", "failed", "time_limit"),
        ("python -c 'b = b\"x\" * 80_000_000_000'", "failed", None),
    ],
    ids=["ends at once", "fails", "prints 1 GB", "takes too long", "asks for 80 GB"],
)
def test_it_ends_as_it_should(
    developer: Developer, command: str, status: str, reason: str | None
) -> None:
    limit = 10 if "sleep" in command else 120
    job = developer.ended(developer.launch(command, environment="system", time_limit_seconds=limit))
    assert job["status"] == status, job
    assert reason is None or job["reason"] == reason
    check_cost(job)


def test_a_fork_bomb_ends_when_stopped_and_the_portal_goes_on(developer: Developer) -> None:
    job_id = developer.launch(":(){ :|:& };:; sleep 60", time_limit_seconds=60)
    until(lambda: developer.job(job_id)["status"] == "running")
    neighbour = developer.ended(developer.launch("echo well"))
    assert neighbour["status"] == "succeeded"
    developer.http.post(f"/jobs/{job_id}/cancel")
    assert developer.ended(job_id)["status"] == "cancelled"


def test_one_that_ignores_sigterm_is_killed_after_the_grace(developer: Developer) -> None:
    job_id = developer.launch(
        "trap '' TERM; echo ready; while true; do sleep 1; done", environment="system"
    )
    until(lambda: "ready" in developer.log(job_id))
    developer.http.post(f"/jobs/{job_id}/cancel")
    assert developer.job(job_id)["status"] == "stopping"
    job = developer.ended(job_id, seconds=40)
    assert (job["status"], job["reason"]) == ("cancelled", "stopped")
