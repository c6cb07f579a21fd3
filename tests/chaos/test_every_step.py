"""SIGKILL at every step between intent and acknowledgement: each launch runs exactly once.

A process lives one launch and dies at its k-th step: before each SQL statement, after each that
stands alone, before and after each commit and each call of the engine. Then somebody else goes on,
every other time without waiting for the leases of the dead to expire. The engine's truth is a file
that outlives everyone, so executions can be counted.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from accounts.access import actor_of_user
from accounts.models import IdempotencyRecord, Team, User
from billing.models import BillingAccount, Hold
from clusters.actions.pools import refresh_inventory
from clusters.backends.registry import backend
from clusters.control.owners import release_leases_of_the_dead
from clusters.control.submit import LEASE_SECONDS
from clusters.models import Attempt, Engine, GpuAllotment, Pool, Workload
from portal.lib import clock
from portal.lib.env import env_int
from tests.billing.books import assert_books
from tests.chaos.audit import problems_of
from tests.chaos.engine import FileEngine, engines_below
from tests.chaos.forking import forking, life_in
from tests.chaos.life import Hand, Order, go_on, launch_once
from tests.chaos.steps import INSIDE

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]
# Between two launches, so that the engine is due for a look again.
PAUSE = timedelta(minutes=2)
# Steps of a life other than the main one, by a seed of its own: CHAOS_SAMPLE=1000 is all of them.
SAMPLE = env_int("CHAOS_SAMPLE", 8)


@dataclass(frozen=True, slots=True)
class Case:
    """A kind of life: the engine, its attempts, and how it ends when nobody dies."""

    name: str
    command: str
    ends: tuple[str, ...]
    engine: str = "plain"
    retries: int = 0
    cancel_after: int | None = None


RUNS = '{"runs": 4, "ends": "completed"}'
MAIN = Case("runs", f"[{RUNS}]", ("completed",))
OTHERS = [
    Case("node lost", f'[{{"runs": 4, "ends": "node_lost"}}, {RUNS}]', ("node_lost", "completed")),
    Case(
        "exit 75",
        f'[{{"runs": 4, "ends": "user_error", "exit_code": 75}}, {RUNS}]',
        ("asked_requeue", "completed"),
    ),
    Case(
        "fails twice",
        '[{"runs": 3, "ends": "user_error", "exit_code": 1}]',
        ("user_error", "user_error"),
        retries=1,
    ),
    Case(
        "waits in the engine's queue",
        '[{"waits": 8, "runs": 6, "ends": "completed"}]',
        ("completed",),
        engine="queueing",
    ),
    Case("cancelled at once", f"[{RUNS}]", ("stopped",), cancel_after=0),
    Case(
        "cancelled while it runs",
        '[{"runs": 100, "ends": "completed"}]',
        ("stopped",),
        cancel_after=1,
    ),
    Case(
        "cancelled in the engine's queue",
        '[{"waits": 50, "runs": 50, "ends": "completed"}]',
        ("cancelled_in_queue",),
        engine="queueing",
        cancel_after=1,
    ),
]


class Harness:
    """Lives launches in processes that die, and goes on where they left off."""

    def __init__(self, user: User, root: Path, zygote: subprocess.Popen[str]) -> None:
        self.user = user
        self.actor = actor_of_user(user)
        self._root = root
        self._zygote = zygote
        self._lived = 0
        self._now = datetime(2026, 3, 1, tzinfo=UTC)
        self._pools: dict[str, Pool] = {}

    def order(self, case: Case, *, die_at: int | None) -> Order:
        """A launch of its own."""
        self._lived += 1
        return Order(
            user=self.user.pk,
            pool=self._pool(case.engine).pk,
            engine=case.engine,
            key=f"{case.name} {self._lived}",
            command=case.command,
            retries=case.retries,
            begins_at=self._now.isoformat(),
            folder=str(self._root),
            cancel_after=case.cancel_after,
            die_at=die_at,
        )

    def live(self, order: Order) -> bool:
        """Live `order` in a process of its own; whether that process survived."""
        return life_in(self._zygote, order.to_json())

    def steps(self, order: Order) -> list[str]:
        """The steps the last process reached, the one it died at last."""
        return order.trace.read_text().split("\n")

    def recover(self, order: Order, *, at_once: bool) -> list[str]:
        """Bring what the dead left to its end; what is wrong then, in sentences.

        `at_once`: as a worker that starts on the same machine, else when leases have expired.
        """
        hand = Hand(datetime.fromisoformat(order.time.read_text()), order.time)
        if not at_once:
            hand.move(timedelta(seconds=LEASE_SECONDS + 1))
        with clock.use(hand.now):
            if at_once:
                release_leases_of_the_dead()
            problems = self._problems(order, hand)
        self._now = hand.now() + PAUSE
        for journal in self._root.glob("*/journal"):
            journal.unlink()
        return problems

    def reasons(self, order: Order) -> list[str]:
        """Why each attempt of the launch ended."""
        attempts = Attempt.objects.filter(workload__in=self._jobs(order)).order_by("number")
        return list(attempts.values_list("reason", flat=True))

    def _problems(self, order: Order, hand: Hand) -> list[str]:
        if not IdempotencyRecord.objects.filter(key=order.key).exists():
            return self._traces_of_nothing()
        job = launch_once(self.actor, order)
        if order.cancel_after is not None:
            # Who wanted to cancel does not wait for anybody to come back first.
            order = replace(order, cancel_after=0)
        engine = backend(order.engine)
        assert isinstance(engine, FileEngine)

        def is_over() -> bool:
            return all(one.ended_at <= clock.now() for one in engine.executions())

        go_on(self.actor, order, job, hand, is_over=is_over)
        return problems_of(job, engine.executions())

    def _traces_of_nothing(self) -> list[str]:
        """A launch that never was: everything there is belongs to those that were."""
        found = [
            ("jobs", Workload.objects.count() != IdempotencyRecord.objects.count()),
            ("holds", Hold.objects.filter(released_at__isnull=True).exists()),
            ("GPUs", GpuAllotment.objects.filter(released_at__isnull=True).exists()),
        ]
        return [f"{what} of a launch that never was" for what, is_there in found if is_there]

    def _jobs(self, order: Order) -> list[int]:
        records = IdempotencyRecord.objects.filter(key=order.key)
        public = [record.body["id"] for record in records]
        return list(Workload.objects.filter(public_id__in=public).values_list("pk", flat=True))

    def _pool(self, engine: str) -> Pool:
        if engine not in self._pools:
            pool = Pool.objects.create(
                slug=engine, name=engine, backend=engine, sku_code="a100-test", gpu_model="A100",
                environments=["system"],
            )  # fmt: skip
            # Made by the first look otherwise, which would then have more steps than the others.
            Engine.objects.create(name=engine)
            refresh_inventory(pool, backend(engine).inventory({}), backend(engine).health({}))
            self._pools[engine] = pool
        return self._pools[engine]


@pytest.fixture(scope="module")
def zygote(
    django_db_setup: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    """What forks the processes that die, and the folder of their engines."""
    root = tmp_path_factory.mktemp("chaos")
    with forking("tests.chaos.life", root) as process:
        yield root, process


@pytest.fixture
def harness(
    zygote: tuple[Path, subprocess.Popen[str]], alice: User, team: Team, settings: Any
) -> Iterator[Harness]:
    """Alice, whose team has credit, and processes that share her database."""
    root, process = zygote
    for journal in root.glob("*/journal"):
        journal.unlink()
    settings.BACKENDS = engines_below(root)
    backend.cache_clear()
    yield Harness(alice, root, process)
    backend.cache_clear()


def kill_at(harness: Harness, case: Case, die_at: int) -> bool:
    """One launch killed there and brought to its end: all is well. False where nothing died."""
    order = harness.order(case, die_at=die_at)
    survived = harness.live(order)
    where = f"{case.name}, killed at step {die_at}: {harness.steps(order)[-1]}"
    assert harness.recover(order, at_once=die_at % 2 == 0) == [], where
    reasons = harness.reasons(order)
    if case.cancel_after is None:
        assert reasons in ([], list(case.ends)), where
    else:
        assert reasons in ([], ["stopped"], ["cancelled_in_queue"]), where
    return not survived


def test_death_at_every_step_of_a_launch(harness: Harness, account: BillingAccount) -> None:
    died = 0
    while kill_at(harness, MAIN, died + 1):
        died += 1
    assert died > 80
    assert Workload.objects.filter(status="succeeded").count() > 80
    assert_books(account)


@pytest.mark.parametrize("case", OTHERS, ids=lambda case: case.name)
def test_death_at_the_steps_that_change_something(
    harness: Harness, account: BillingAccount, case: Case
) -> None:
    whole = harness.order(case, die_at=None)
    assert harness.live(whole)
    assert harness.recover(whole, at_once=True) == []
    assert harness.reasons(whole) == list(case.ends)
    steps = [
        number
        for number, name in enumerate(harness.steps(whole), start=1)
        if not name.startswith((INSIDE, "before SELECT"))
    ]
    for die_at in Random(case.name).sample(steps, min(SAMPLE, len(steps))):
        kill_at(harness, case, die_at)
    assert_books(account)


def test_an_engine_that_does_not_adopt_is_found_out(harness: Harness) -> None:
    careless = replace(MAIN, engine="careless")
    whole = harness.order(careless, die_at=None)
    assert harness.live(whole)
    assert harness.recover(whole, at_once=True) == []
    order = harness.order(careless, die_at=harness.steps(whole).index("after submit") + 1)
    assert not harness.live(order)
    problems = harness.recover(order, at_once=False)
    assert any("executed 2 times" in problem for problem in problems), problems
