"""One bulk look at each engine per tick, and what follows from it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings

from billing.actions.metering import prove
from clusters.actions.launching import RESOURCE_KIND
from clusters.backends.base import BackendUnavailable, Handle, Observation, Phase, Survey
from clusters.backends.registry import backend
from clusters.choices import REASON_OF_WAIT, AttemptState, Reason
from clusters.control.apply import apply_observations, end_lost, wait_words
from clusters.control.engines import record_answer, record_failure, record_strays, take_turn
from clusters.control.stops import stop_strays
from clusters.models import Attempt
from portal.lib import clock

logger = logging.getLogger(__name__)
# An attempt its engine does not know is given this long before it counts as lost.
UNKNOWN_GRACE = timedelta(minutes=2)
# What runs is proven to billing no more often, for each proof is a row written.
PROOF_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Row:
    """What a look needs to know of a live attempt; no model, for there may be ten thousand."""

    pk: int
    external_name: str
    engine_id: str
    state: str
    node: str
    submitted_at: datetime | None
    missing_since: datetime | None
    workload_id: int
    number: int
    workload_reason: str
    workload_detail: str


COLUMNS = (
    "pk", "external_name", "engine_id", "state", "node", "submitted_at", "missing_since",
    "workload_id", "number", "workload__reason", "workload__detail",
)  # fmt: skip


def observe_engine(name: str, *, owner: str) -> bool:
    """Bring every attempt the engine has to what it says of it now; False: not our turn."""
    turn = take_turn(name, owner=owner)
    if turn is None:
        return False
    rows = live_rows(name)
    began = clock.now()
    try:
        engine = backend(name)
        survey = engine.observe(
            [Handle(row.external_name, row.engine_id, row.submitted_at) for row in rows]
        )
    except BackendUnavailable as error:
        logger.warning("%s does not answer, its work is left as it is: %s", name, error)
        record_failure(turn, str(error))
        return True
    except Exception as error:
        # A defect of the backend must not leave the engine leased and unwatched in silence.
        record_failure(turn, f"{type(error).__name__}: {error}")
        raise
    if turn.surveyed_at is not None and survey.taken_at < turn.surveyed_at:
        record_failure(turn, f"its answer is of {survey.taken_at:%H:%M:%S}, older than the last")
        return True
    if record_answer(turn, taken_at=survey.taken_at, took=clock.now() - began):
        _take_in(rows, survey, seen_until=turn.surveyed_at)
        record_strays(turn, stop_strays(engine, survey.strays, taken_at=survey.taken_at))
    return True


def live_rows(name: str) -> list[Row]:
    """The attempts the engine was handed and that have not ended."""
    live = Attempt.objects.filter(
        pool__backend=name, state__in=[AttemptState.SUBMITTED, AttemptState.RUNNING]
    )
    return [Row(*values) for values in live.values_list(*COLUMNS)]


def _take_in(rows: Sequence[Row], survey: Survey, *, seen_until: datetime | None) -> None:
    """Apply a survey; `seen_until` is when the one before it was taken."""
    news: dict[int, Observation] = {}
    newly_missing, found, lost = [], [], []
    for row in rows:
        seen = survey.seen.get(row.external_name)
        if seen is not None:
            if row.missing_since is not None:
                found.append(row.pk)
            if _is_news(row, seen):
                news[row.pk] = seen
        elif row.submitted_at is not None and survey.taken_at < row.submitted_at:
            continue  # the list was made before it was handed over
        elif row.missing_since is None:
            newly_missing.append(row.pk)
        elif survey.taken_at - row.missing_since > UNKNOWN_GRACE:
            lost.append(row.pk)
    if newly_missing:
        Attempt.objects.filter(pk__in=newly_missing, missing_since__isnull=True).update(
            missing_since=survey.taken_at, last_seen_at=seen_until
        )
    if found:
        Attempt.objects.filter(pk__in=found).update(missing_since=None)
    _prove(rows, survey, seen_until=seen_until)
    apply_observations((attempt, news[attempt.pk]) for attempt in _attempts(news))
    for attempt in _attempts(lost):
        end_lost(attempt)


def _prove(rows: Iterable[Row], survey: Survey, *, seen_until: datetime | None) -> None:
    """Tell billing what runs, once in a while: what it may charge reaches far beyond one look."""
    step = max(1.0, min(PROOF_SECONDS, settings.METER_GRACE_SECONDS / 4))
    if seen_until and survey.taken_at.timestamp() // step == seen_until.timestamp() // step:
        return
    seen = [(row, survey.seen.get(row.external_name)) for row in rows]
    running = [
        (row.workload_id, row.number) for row, one in seen if one and one.phase == Phase.RUNNING
    ]
    prove(RESOURCE_KIND, running, at=survey.taken_at)


def _is_news(row: Row, seen: Observation) -> bool:
    if seen.phase == Phase.PENDING:
        return row.state == AttemptState.SUBMITTED and _waits_otherwise(row, seen)
    if seen.phase == Phase.RUNNING and row.state == AttemptState.RUNNING:
        return bool(seen.node) and seen.node != row.node
    return True


def _waits_otherwise(row: Row, seen: Observation) -> bool:
    if seen.wait is None or row.workload_reason == Reason.STOP_REQUESTED:
        return False
    said = (row.workload_reason, row.workload_detail)
    return said != (REASON_OF_WAIT[seen.wait.cause], wait_words(seen.wait))


def _attempts(keys: Iterable[int]) -> list[Attempt]:
    return list(Attempt.objects.filter(pk__in=list(keys)).order_by("pk"))
