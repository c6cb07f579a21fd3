"""The ready example on a real stack: it learns, is measured while it does, and is paid for once."""

from __future__ import annotations

import re

import pytest

from clusters.examples import DIGITS
from tests.stacks.developer import Developer, ask_database, check_cost
from tests.stacks.portal import Stack

pytestmark = [pytest.mark.stack, pytest.mark.timeout(400)]


def test_digits_learn_and_cost_what_they_took(stack: Stack, developer: Developer) -> None:
    job_id = developer.launch(
        DIGITS.command, environment=DIGITS.environment, time_limit_seconds=600
    )
    job = developer.ended(job_id, seconds=240)
    assert (job["status"], job["exit_code"]) == ("succeeded", 0), developer.log(job_id)

    losses = [float(loss) for loss in re.findall(r"loss (\d+\.\d+)", developer.log(job_id))]
    assert len(losses) >= 20
    assert losses[-1] < losses[0] / 4

    curves = developer.http.get(f"/jobs/{job_id}/scalars").json()["tags"]
    assert [curve["tag"] for curve in curves] == ["accuracy", "loss"]
    (loss,) = curves[1]["series"]
    assert loss["run"] == "runs/digits"
    assert [round(value, 4) for value in loss["values"]] == losses

    check_cost(job)
    [(total,)] = ask_database(stack, "SELECT sum(amount_micros) FROM billing_posting")
    assert total == 0
    [(posted,)] = ask_database(
        stack,
        "SELECT sum(r.amount_micros) FROM billing_ratedusage r"
        " JOIN billing_usageinterval i ON i.id = r.interval_id WHERE i.resource_public_id = %s",
        job_id,
    )
    assert posted == job["cost_micros"]

    samples = ask_database(
        stack,
        "SELECT s.utilization_percent, s.memory_used_bytes FROM clusters_gpusample s"
        " JOIN clusters_attempt a ON a.id = s.attempt_id"
        " JOIN clusters_workload w ON w.id = a.workload_id WHERE w.public_id = %s",
        job_id,
    )
    seconds = job["billed_seconds"]
    assert len(samples) >= seconds * 0.7
    assert len({row[0] for row in samples}) > 3
    assert max(row[1] or 0 for row in samples) > 50_000_000
