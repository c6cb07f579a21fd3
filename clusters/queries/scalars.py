"""What a run has written for TensorBoard, as charts and programs are given it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from django.db.models import Q, QuerySet

from clusters.backends.base import Backend, BackendUnavailable
from clusters.backends.capabilities import Folders
from clusters.backends.registry import backend
from clusters.choices import WorkloadKind
from clusters.models import Attempt, Workload
from clusters.models.workload import NODE_CHARACTERS
from clusters.queries.logs import shown_attempt
from clusters.telemetry.scalars import Scalars, scalars_of
from clusters.telemetry.volume_events import Span, Writer
from portal.lib import clock
from portal.lib.errors import Unavailable

_NONE = Scalars({}, is_whole=True, hidden_series=0)


@dataclass(frozen=True, slots=True)
class RunScalars:
    """The scalars of attempt `attempt`, which is 0 where there is none yet."""

    attempt: int
    scalars: Scalars


def scalars_of_run(run: Workload, number: int | None = None) -> RunScalars:
    """Those of an attempt, by default of the latest that has begun.

    Raises NotFound, Unavailable.
    """
    attempt = shown_attempt(run, number)
    if attempt is None or attempt.started_at is None:
        return RunScalars(attempt.number if attempt else 0, _NONE)
    try:
        engine = backend(run.pool.backend)
        found = scalars_of(engine, attempt.external_name, _writer(engine, run, attempt))
    except BackendUnavailable as error:
        raise Unavailable("The metrics cannot be read just now. Try again shortly.") from error
    return RunScalars(attempt.number, found)


def _writer(engine: Backend, run: Workload, attempt: Attempt) -> Writer | None:
    """How the attempt has written into its volume; None where it has none that is seen here."""
    if run.volume_id is None or not isinstance(engine, Folders):
        return None
    root = engine.folders_of(attempt.external_name).get("workspace")
    if root is None or attempt.started_at is None:
        return None
    span = (attempt.started_at, attempt.ended_at)
    others = _others(run, attempt)
    if not engine.names_hosts:
        return _of_a_cluster(root, span, attempt, others)
    if run.kind == WorkloadKind.NOTEBOOK:
        servers = others.filter(workload__kind=WorkloadKind.NOTEBOOK)
        return Writer(root, span, others=_spans(servers))
    return Writer(root, span, host=attempt.external_name)


def _of_a_cluster(root: Path, span: Span, attempt: Attempt, others: QuerySet[Attempt]) -> Writer:
    """One whose machines have names of their own, by which those of other machines are told."""
    nodes = _nodes(attempt.node)
    beside: list[Attempt] = []
    elsewhere: list[Attempt] = []
    for other in others:
        theirs = _nodes(other.node)
        is_elsewhere = nodes and theirs and nodes.isdisjoint(theirs)
        (elsewhere if is_elsewhere else beside).append(other)
    return Writer(
        root,
        span,
        others=_spans(beside),
        is_any_host=True,
        nodes=nodes,
        elsewhere=_spans(elsewhere),
    )


def _nodes(names: str) -> frozenset[str]:
    """The nodes of an attempt; none where there may be more than the column has room for."""
    is_whole = 0 < len(names) < NODE_CHARACTERS
    return frozenset(names.split(",")) if is_whole else frozenset()


def _others(run: Workload, attempt: Attempt) -> QuerySet[Attempt]:
    """Those that had the same volume in the time of `attempt`."""
    others = Attempt.objects.filter(
        workload__volume=run.volume_id, started_at__lte=attempt.ended_at or clock.now()
    ).exclude(pk=attempt.pk)
    return others.filter(Q(ended_at__isnull=True) | Q(ended_at__gte=attempt.started_at))


def _spans(attempts: Iterable[Attempt]) -> list[Span]:
    return [(one.started_at, one.ended_at) for one in attempts if one.started_at is not None]


def as_json(found: RunScalars) -> dict[str, object]:
    """Tags by name; `times` are epoch seconds."""
    return {
        "attempt": found.attempt,
        "is_whole": found.scalars.is_whole,
        "hidden_series": found.scalars.hidden_series,
        "tags": [
            {
                "tag": tag,
                "series": [
                    {
                        "run": one.run,
                        "steps": one.steps,
                        "times": one.times,
                        "values": one.values,
                    }
                    for one in series
                ],
            }
            for tag, series in found.scalars.tags.items()
        ],
    }
