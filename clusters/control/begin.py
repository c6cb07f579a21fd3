"""Attempts that their engine has started: they run, and are metered, from the engine's own time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from billing.actions.metering import Resource, Start, open_intervals
from billing.models import BillingAccount
from billing.queries.prices import prices_at
from clusters.actions.launching import RESOURCE_KIND
from clusters.actions.set_status import start_attempts, start_workloads
from clusters.backends.base import EndReason, Observation
from clusters.choices import ATTEMPT_TRANSITIONS, AttemptState
from clusters.models import Attempt, Workload
from clusters.models.workload import NODE_CHARACTERS
from portal.lib import clock


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """An attempt and its workload, both locked, and what was seen of it."""

    attempt: Attempt
    job: Workload
    seen: Observation

    @property
    def has_begun(self) -> bool:
        """Whether it runs, or ran, and is not known to."""
        return (
            self.seen.started_at is not None
            and self.seen.reason != EndReason.START_FAILED
            and self.attempt.state in ATTEMPT_TRANSITIONS.sources_of(AttemptState.RUNNING)
        )

    def start(self) -> Start:
        """What is metered from now on."""
        assert self.attempt.started_at is not None  # noqa: S101  # it has begun
        job = self.job
        return Start(
            account=job.team.billing_account,
            sku_code=job.pool.sku_code,
            price=job.price,
            resource=Resource(
                kind=RESOURCE_KIND,
                id=job.pk,
                attempt=self.attempt.number,
                public_id=job.public_id,
                label=job.name,
            ),
            quantity=job.gpus,
            started_at=self.attempt.started_at,
            labels=job.cost_labels,
            proven_at=clock.now(),
        )


def begin(cases: Sequence[Case]) -> None:
    """Let them run, and meter them; a fixed number of statements for any number."""
    now = clock.now()
    for case in cases:
        attempt = case.attempt
        attempt.started_at = case.seen.started_at
        attempt.submitted_at = attempt.submitted_at or now
        for name, value in facts_of(attempt, case.seen).items():
            setattr(attempt, name, value)
    _pin_prices(cases)
    start_attempts([case.attempt for case in cases])
    start_workloads([(case.job, case.attempt) for case in cases])
    open_intervals([case.start() for case in cases])


def _pin_prices(cases: Sequence[Case]) -> None:
    """The price of an attempt is the one of its start; its launch was a quote.

    Where nothing is sold at that instant any more, the quote holds.
    """
    wanted = {case: _sale(case) for case in cases}
    prices = prices_at(list(wanted.values()))
    for case, (account, code, at) in wanted.items():
        case.job.price = prices.get((account.pk, code, at), case.job.price)


def _sale(case: Case) -> tuple[BillingAccount, str, datetime]:
    assert case.attempt.started_at is not None  # noqa: S101  # it has begun
    return case.job.team.billing_account, case.job.pool.sku_code, case.attempt.started_at


def facts_of(attempt: Attempt, seen: Observation) -> dict[str, Any]:
    """What the engine calls it and where it runs; it is missing no more."""
    return {
        "engine_id": (seen.engine_id or attempt.engine_id)[:60],
        "node": (seen.node or attempt.node)[:NODE_CHARACTERS],
        "missing_since": None,
    }
