"""`python -m tests.bench.seed`: a pool on the engine that does nothing, and teams with credit.

Prints one API key a line, with `--brief` also when the credit ends. Run with the environment of
the stack it is for.
"""

from __future__ import annotations

import argparse
from datetime import UTC, datetime, timedelta

import django

django.setup()

from accounts.access import actor_of_user  # noqa: E402
from accounts.actions.teams import create_api_key, create_team  # noqa: E402
from accounts.actor import Actor  # noqa: E402
from accounts.models import User  # noqa: E402
from billing.actions.accounts import ensure_account  # noqa: E402
from billing.actions.credit import grant_credit  # noqa: E402
from billing.actions.metering import Resource, Start, open_intervals  # noqa: E402
from billing.models import Price, PriceBook, Sku  # noqa: E402
from clusters.actions.pools import refresh_inventory  # noqa: E402
from clusters.backends.registry import backend  # noqa: E402
from clusters.choices import AttemptState, Reason, WorkloadStatus  # noqa: E402
from clusters.models import Attempt, Pool, Workload  # noqa: E402
from portal.lib import clock  # noqa: E402
from portal.lib.money import MICROS  # noqa: E402

SKU = "noop"


def make_pool() -> Pool:
    """The pool, at a price too small to matter."""
    book = PriceBook.objects.get(is_default=True)
    sku, made = Sku.objects.get_or_create(code=SKU, defaults={"label": "Nothing"})
    if made:
        start = datetime(2020, 1, 1, tzinfo=UTC)
        Price.objects.create(book=book, sku=sku, unit_micros=1000, valid_during=(start, None))
    pool, _ = Pool.objects.get_or_create(
        slug=SKU,
        defaults={
            "name": "Nothing",
            "backend": "noop",
            "sku_code": SKU,
            "gpu_model": "none",
            "environments": ["system"],
        },
    )
    engine = backend("noop")
    refresh_inventory(pool, engine.inventory({}), engine.health({}))
    return pool


def make_team(expires_at: datetime | None = None) -> str:
    """A team of one person with credit, for ever or for a time; an API key of it."""
    number = User.objects.count()
    user = User.objects.create_user(f"bench{number}@example.org", "correct horse battery")
    team = create_team(owner=user, name=f"Bench {number}")
    grant_credit(
        Actor.system("bench"),
        ensure_account(team),
        amount_micros=1000 * MICROS,
        reason="bench",
        idempotency_key=f"bench:{team.pk}",
        expires_at=expires_at,
    )
    return create_api_key(actor_of_user(user), name="bench")[1]


def make_running(pool: Pool, count: int) -> None:
    """`count` jobs that run already, as rows: launching them is measured elsewhere."""
    owner = User.objects.filter(email__startswith="bench").first()
    if owner is None or not count:
        return
    team = actor_of_user(owner).team
    now = clock.now()
    price = Price.objects.get(sku__code=SKU)
    jobs = Workload.objects.bulk_create(
        [
            Workload(
                team=team,
                created_by=owner,
                pool=pool,
                price=price,
                name="bench",
                gpus=1,
                environment="system",
                command="true",
                time_limit_seconds=86400,
                status=WorkloadStatus.RUNNING,
                reason=Reason.RUNNING,
                started_at=now,
            )
            for _ in range(count)
        ],
        batch_size=1000,
    )
    resource = [Resource("workload", job.pk, 1, job.public_id, job.name) for job in jobs]
    account = ensure_account(jobs[0].team)
    open_intervals(
        [Start(account, SKU, price, one, 1, started_at=now, proven_at=now) for one in resource]
    )
    Attempt.objects.bulk_create(
        [
            Attempt(
                workload=job,
                pool=pool,
                number=1,
                external_name=f"fg-{job.public_id}-1",
                state=AttemptState.RUNNING,
                node="noop",
                placed_at=now,
                submitted_at=now,
                started_at=now,
            )
            for job in jobs
        ],
        batch_size=1000,
    )


def main() -> None:
    """Seed what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.seed")
    parser.add_argument("--teams", type=int, default=0)
    parser.add_argument("--running", type=int, default=0)
    parser.add_argument("--brief", type=float, help="a team whose credit lasts so many seconds")
    options = parser.parse_args()
    if options.brief is not None:
        ends = clock.now() + timedelta(seconds=options.brief)
        print(make_team(ends), ends.isoformat())
        return
    pool = make_pool()
    for _ in range(options.teams):
        print(make_team(), flush=True)
    make_running(pool, options.running)


if __name__ == "__main__":
    main()
