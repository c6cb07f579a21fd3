"""What an attempt is charged: from its own price, to its last proof, not for faults of ours."""

from __future__ import annotations

from datetime import timedelta

from accounts.actor import Actor
from billing.actions.metering import rate_open_intervals
from billing.actions.prices import set_list_price
from billing.models import UsageCredit, UsageInterval
from billing.queries.usage import cost_of
from clusters.actions.jobs import launch
from clusters.actions.launch_checks import JobRequest
from clusters.actions.launching import RESOURCE_KIND
from clusters.backends.base import EndReason
from clusters.models import Attempt, Workload
from clusters.tasks import drive_pool
from portal.lib import clock
from tests.conftest import Engine
from tests.fakes.loop import tick

REQUEST = JobRequest(name="digits", pool="a100", gpus=1, command="true", time_limit_seconds=7200)
SYSTEM = Actor.system("tests")


def run(actor: Actor, engine: Engine) -> Workload:
    job = launch(actor, REQUEST)
    drive_pool(engine.pool.pk)
    return job


def name_of(job: Workload, number: int = 1) -> str:
    return Attempt.objects.get(workload=job, number=number).external_name


def test_a_silent_engine_is_charged_to_the_grace_and_no_further(
    actor: Actor, engine: Engine
) -> None:
    began = clock.now()
    with clock.use(lambda: began):
        job = run(actor, engine)
    engine.backend.is_down = True
    later = began + timedelta(hours=5)
    with clock.use(lambda: later):
        tick()
        rate_open_intervals(until=later)
        interval = UsageInterval.objects.get(resource_id=job.pk)
        assert interval.ended_at is None
        assert interval.rated_until - interval.started_at == timedelta(seconds=120)
        engine.backend.is_down = False
        tick()
        assert cost_of(RESOURCE_KIND, [job.pk])[job.pk] >= 5 * 2_100_000


def test_a_lost_node_is_not_charged_and_the_next_attempt_is(actor: Actor, engine: Engine) -> None:
    job = run(actor, engine)
    later = clock.now() + timedelta(hours=1)
    with clock.use(lambda: later):
        engine.backend.end(name_of(job), EndReason.NODE_LOST, at=later)
        tick()
        tick()
    credit = UsageCredit.objects.get()
    assert credit.words.startswith("Node fake-1 was lost: ")
    assert credit.amount_micros == credit.interval.billed_micros > 0
    assert UsageInterval.objects.get(resource_attempt=2).ended_at is None
    with clock.use(lambda: later):
        assert cost_of(RESOURCE_KIND, [job.pk]) == {job.pk: 0}


def test_an_error_of_its_own_is_charged(actor: Actor, engine: Engine) -> None:
    job = run(actor, engine)
    engine.backend.end(name_of(job), EndReason.USER_ERROR, exit_code=1)
    tick()
    assert not UsageCredit.objects.exists()


def test_what_runs_keeps_its_price_when_the_list_changes(actor: Actor, engine: Engine) -> None:
    job = run(actor, engine)
    set_list_price(SYSTEM, "a100-test", unit_micros=9_000_000, reason="tests")
    later = clock.now() + timedelta(hours=1)
    with clock.use(lambda: later):
        tick()
    interval = UsageInterval.objects.select_related("price").get(resource_id=job.pk)
    assert interval.price.unit_micros == 2_100_000


def test_an_attempt_has_the_price_of_its_start_not_of_its_launch(
    actor: Actor, engine: Engine
) -> None:
    job = launch(actor, REQUEST)
    set_list_price(SYSTEM, "a100-test", unit_micros=1_000_000)
    drive_pool(engine.pool.pk)
    interval = UsageInterval.objects.select_related("price").get(resource_id=job.pk)
    assert interval.price.unit_micros == 1_000_000
    job.refresh_from_db()
    assert job.price == interval.price


def test_a_retry_has_the_price_of_its_own_start(actor: Actor, engine: Engine) -> None:
    job = run(actor, engine)
    set_list_price(SYSTEM, "a100-test", unit_micros=3_000_000, reason="tests")
    engine.backend.end(name_of(job), EndReason.NODE_LOST)
    tick()
    tick()
    prices = UsageInterval.objects.order_by("resource_attempt").values_list(
        "price__unit_micros", flat=True
    )
    assert list(prices) == [2_100_000, 3_000_000]
