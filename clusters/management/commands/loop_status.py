"""`manage.py loop_status`: how the control loop does. Exits with 1 when something is stuck."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from django.core.management.base import BaseCommand
from django.core.serializers.json import DjangoJSONEncoder

from clusters.queries.loop import EngineLine, LoopStatus, PoolLine, loop_status


class _Encoder(DjangoJSONEncoder):
    """Spans of time as seconds."""

    def default(self, value: Any) -> Any:
        """What JSON has no word for."""
        return value.total_seconds() if isinstance(value, timedelta) else super().default(value)


class Command(BaseCommand):
    """Shows engines, pools, workers, leases and what is stuck."""

    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        """`--json`."""
        parser.add_argument("--json", action="store_true", help="for monitoring: times in seconds")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Write it; exit with 1 when something is stuck."""
        status = loop_status()
        if options["json"]:
            self.stdout.write(json.dumps(status.as_dict(), cls=_Encoder, indent=2))
        else:
            for line in _lines(status):
                self.stdout.write(line)
        if not status.is_well:
            sys.exit(1)


def _lines(status: LoopStatus) -> Iterator[str]:
    yield "Engines"
    yield from (f"  {_engine(engine, status.at)}" for engine in status.engines)
    yield "Pools"
    yield from (f"  {_pool(pool, status.at)}" for pool in status.pools)
    yield "Workers"
    if status.workers is None:
        yield "  unknown: the cache does not answer"
    else:
        for worker in status.workers:
            yield f"  {worker.name} swept {_ago(worker.seen_at, status.at)}"
    yield f"Attempts being handed over: {status.lease_count}"
    for lease in status.leases:
        yield f"  {lease.attempt} by {lease.owner}, ends in {_span(lease.expires_at - status.at)}"
    if status.is_well:
        yield "Nothing is stuck."
        return
    yield f"Stuck: {len(status.stuck)}"
    for row in status.stuck:
        since = f", {_ago(row.since, status.at)}" if row.since else ""
        yield f"  {row.what}: {row.name}{since}. {row.detail}"
        yield f"    {row.advice}"


def _engine(engine: EngineLine, at: datetime) -> str:
    if engine.failing_since is not None:
        retry = f", next try in {_span(engine.retry_at - at)}" if engine.retry_at else ""
        since = _ago(engine.failing_since, at)
        return f"{engine.name}: does not answer since {since}{retry}: {engine.error}"
    if engine.lag is None:
        return f"{engine.name}: never surveyed"
    held = f", {engine.lease_owner} looks now" if engine.lease_owner else ""
    return f"{engine.name}: surveyed {_span(engine.lag)} ago in {engine.survey_ms:.0f} ms{held}"


def _pool(pool: PoolLine, at: datetime) -> str:
    state = "open" if pool.is_open else "closed"
    if not pool.may_start:
        state += f", starts nothing ({pool.health_detail})"
    if pool.breaker_opened_at is not None:
        state += f", breaker open ({pool.breaker_detail})"
    counts = ", ".join(f"{count} {name}" for name, count in pool.counts.items())
    oldest = f", oldest {_ago(pool.oldest_waiting_at, at)}" if pool.oldest_waiting_at else ""
    return f"{pool.slug} on {pool.backend}: {state}; {counts}{oldest}"


def _ago(then: datetime, at: datetime) -> str:
    return f"{_span(at - then)} ago"


def _span(span: timedelta) -> str:
    return f"{max(0.0, span.total_seconds()):.0f} s"
