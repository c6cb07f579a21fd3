"""What a run has written for TensorBoard, as charts and programs are given it."""

from __future__ import annotations

from dataclasses import dataclass

from clusters.backends.base import BackendUnavailable
from clusters.backends.registry import backend
from clusters.models import Workload
from clusters.queries.logs import shown_attempt
from clusters.telemetry.scalars import Scalars, scalars_of
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
        found = scalars_of(backend(run.pool.backend), attempt.external_name)
    except BackendUnavailable as error:
        raise Unavailable("The metrics cannot be read just now. Try again shortly.") from error
    return RunScalars(attempt.number, found)


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
