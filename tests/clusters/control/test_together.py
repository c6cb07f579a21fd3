"""What one look at an engine finds is settled together, and one bad row spoils it for no other."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.actor import Actor
from billing.actions.metering import Resource, Start, open_intervals
from billing.models import UsageInterval
from clusters.actions.jobs import launch
from clusters.actions.launch_checks import JobRequest
from clusters.actions.launching import RESOURCE_KIND
from clusters.backends.base import EndReason
from clusters.choices import WorkloadStatus
from clusters.control.apply import TOGETHER
from clusters.models import Attempt, Workload
from clusters.tasks import drive_pool
from portal.lib.rows import update_rows
from tests.conftest import Engine
from tests.fakes import bad_backends
from tests.fakes.loop import tick

REQUEST = JobRequest(name="digits", pool="a100", gpus=1, command="true", time_limit_seconds=600)


@pytest.fixture
def engine_class() -> type:
    return bad_backends.QueueingBackend


def queue(actor: Actor, engine: Engine, count: int) -> list[Workload]:
    jobs = [launch(actor, REQUEST) for _ in range(count)]
    drive_pool(engine.pool.pk)
    return jobs


def start(engine: Engine, jobs: list[Workload]) -> None:
    assert isinstance(engine.backend, bad_backends.QueueingBackend)
    for attempt in Attempt.objects.filter(workload__in=jobs):
        engine.backend.start(attempt.external_name)


def statuses(jobs: list[Workload]) -> list[str]:
    return [Workload.objects.get(pk=job.pk).status for job in jobs]


def queries_to_start(actor: Actor, engine: Engine, count: int) -> int:
    jobs = queue(actor, engine, count)
    start(engine, jobs)
    with CaptureQueriesContext(connection) as context:
        tick()
    assert statuses(jobs) == [WorkloadStatus.RUNNING] * count
    return len(context)


def test_two_and_twenty_starts_cost_the_same_queries(actor: Actor, engine: Engine) -> None:
    queries_to_start(actor, engine, 1)
    assert queries_to_start(actor, engine, 2) == queries_to_start(actor, engine, TOGETHER)


def test_each_runs_and_is_metered_from_its_own_start(actor: Actor, engine: Engine) -> None:
    jobs = queue(actor, engine, 3)
    start(engine, jobs)
    tick()
    metered = dict(UsageInterval.objects.values_list("resource_id", "started_at"))
    seen = engine.backend.seen
    assert metered == {
        attempt.workload_id: seen[attempt.external_name].started_at
        for attempt in Attempt.objects.all()
    }


def test_starts_and_ends_of_one_look(actor: Actor, engine: Engine) -> None:
    first, second = queue(actor, engine, 2)
    start(engine, [first])
    tick()
    start(engine, [second])
    engine.backend.end(first.attempts.get().external_name, EndReason.COMPLETED)
    tick()
    assert statuses([first, second]) == [WorkloadStatus.SUCCEEDED, WorkloadStatus.RUNNING]


def test_one_that_cannot_be_settled_holds_up_no_other(
    actor: Actor, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    jobs = queue(actor, engine, 3)
    bad = Workload.objects.get(pk=jobs[1].pk)
    # Metered for an attempt that is none: nothing of it may be metered beside that.
    open_intervals(
        [
            Start(
                account=bad.team.billing_account,
                sku_code=bad.pool.sku_code,
                price=bad.price,
                resource=Resource(RESOURCE_KIND, bad.pk, 99, bad.public_id, bad.name),
                quantity=1,
                started_at=bad.created_at,
            )
        ]
    )
    start(engine, jobs)
    tick()
    assert statuses(jobs) == [
        WorkloadStatus.RUNNING,
        WorkloadStatus.QUEUED,
        WorkloadStatus.RUNNING,
    ]
    assert f"{bad.attempts.get().external_name} could not be settled" in caplog.text


def test_rows_are_changed_each_to_its_own(actor: Actor, engine: Engine) -> None:
    jobs = queue(actor, engine, 3)
    for number, job in enumerate(jobs[:2]):
        job.name, job.env, job.ended_at = f"job {number}", {"N": str(number)}, None
    jobs[0].ended_at = jobs[0].created_at
    update_rows(jobs[:2], ["name", "env", "ended_at"])
    kept = Workload.objects.order_by("pk").values_list("name", "env", "ended_at")
    assert list(kept) == [
        ("job 0", {"N": "0"}, jobs[0].created_at),
        ("job 1", {"N": "1"}, None),
        ("digits", {}, None),
    ]
