"""One whole life of a launch in one process: asked for, placed, submitted, watched, ended."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path

from accounts.access import actor_of_user
from accounts.actions.idempotency import Answer, answer_once
from accounts.actor import Actor
from accounts.models import User
from clusters.actions.jobs import cancel, launch
from clusters.actions.launch_checks import JobRequest
from clusters.choices import AT_REST
from clusters.models import Pool, Workload
from clusters.tasks import drive_pool, observe
from portal.lib import clock
from portal.lib.errors import Conflict
from tests.chaos import steps

TICK = timedelta(seconds=5)
MOST_TICKS = 60


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be lived: `cancel_after` ticks somebody cancels, the process dies at `die_at`."""

    user: int
    pool: int
    engine: str
    key: str
    command: str
    retries: int
    begins_at: str
    folder: str
    cancel_after: int | None = None
    die_at: int | None = None

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))

    @property
    def trace(self) -> Path:
        """Where the names of its steps go."""
        return Path(self.folder, "trace")

    @property
    def time(self) -> Path:
        """Where the time of day it has come to stands."""
        return Path(self.folder, "time")


class Hand:
    """A clock moved by hand, which another process can read."""

    def __init__(self, at: datetime, path: Path) -> None:
        self.at = at
        self._path = path
        self.move(timedelta(0))

    def move(self, step: timedelta) -> None:
        """Let `step` pass."""
        self.at += step
        self._path.write_text(self.at.isoformat())

    def now(self) -> datetime:
        """What it shows."""
        return self.at


def live(order: Order) -> None:
    """Live `order` to the end, or to the step at which it is to die."""
    counted = steps.Steps(die_at=order.die_at, trace=order.trace)
    hand = Hand(datetime.fromisoformat(order.begins_at), order.time)
    with clock.use(hand.now):
        actor = actor_of_user(User.objects.get(pk=order.user))
        steps.arm(counted)
        job = launch_once(actor, order)
        go_on(actor, order, job, hand)
    counted.write()


def launch_once(actor: Actor, order: Order) -> Workload:
    """What the API does with an Idempotency-Key."""
    assert actor.team is not None
    request = JobRequest(
        name="chaos",
        pool=Pool.objects.get(pk=order.pool).slug,
        gpus=1,
        command=order.command,
        time_limit_seconds=600,
        retries=order.retries,
    )

    def deed() -> Answer:
        return Answer(201, {"id": launch(actor, request).public_id})

    answer = answer_once(actor.team, key=order.key, digest="", deed=deed)
    return Workload.objects.get(public_id=answer.body["id"])


def go_on(
    actor: Actor,
    order: Order,
    job: Workload,
    hand: Hand,
    *,
    is_over: Callable[[], bool] = lambda: True,
) -> None:
    """Tick until the job has ended and `is_over`; whoever wanted to cancel does, and again."""
    final = AT_REST
    for number in range(MOST_TICKS):
        if order.cancel_after is not None and number >= order.cancel_after:
            _cancel(actor, job)
        hand.move(TICK)
        observe(order.engine)
        drive_pool(order.pool)
        job.refresh_from_db()
        if job.status in final and is_over():
            return
    raise AssertionError(f"{job.public_id} is still {job.status} after {MOST_TICKS} ticks")


def _cancel(actor: Actor, job: Workload) -> None:
    try:
        cancel(actor, job.public_id)
    except Conflict:
        return  # it has ended, which is what was wanted
