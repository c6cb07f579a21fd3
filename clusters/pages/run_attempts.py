"""The table of a run's attempts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from clusters.choices import (
    ENDINGS,
    AttemptState,
    Reason,
    Retry,
    WorkloadKind,
    WorkloadStatus,
)
from clusters.pages.run_status import ending_more, ending_words
from clusters.queries.attempts import AttemptFacts
from clusters.queries.runs import RunDetail

CHOICES = 6
_NOW = {
    AttemptState.INTENDED: "Waits for GPUs",
    AttemptState.PLACED: "Is being started",
    AttemptState.SUBMITTED: "Waits in the cluster's queue",
    AttemptState.RUNNING: "Runs",
}


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """A line of the table. `words` is why it ended or what it does, `next` what follows from it."""

    facts: AttemptFacts
    is_shown: bool
    has_output: bool
    status: WorkloadStatus
    words: str
    more: str
    next: str


def attempt_badge(detail: RunDetail) -> str:
    """Which attempt it is in, where that is not the first and no queue says so."""
    latest = detail.attempt
    is_told = detail.is_final or detail.job.status == WorkloadStatus.QUEUED
    return f"Attempt {latest.number}" if latest and detail.tries > 1 and not is_told else ""


def attempt_choice(rows: Sequence[AttemptRow], *, chosen: int | None) -> list[int]:
    """Numbers of the attempts whose log and files can be chosen besides the latest's."""
    able = [row.facts.number for row in rows if row.has_output]
    offered = set(able[-CHOICES - 1 : -1]) | ({chosen} & set(able))
    return sorted(number for number in offered if number is not None)


def attempt_rows(detail: RunDetail) -> list[AttemptRow]:
    """Every attempt, oldest first."""
    return [_row(detail, facts) for facts in detail.attempts]


def _row(detail: RunDetail, facts: AttemptFacts) -> AttemptRow:
    attempt = facts.attempt
    state = AttemptState(attempt.state)
    is_ended = state == AttemptState.ENDED
    return AttemptRow(
        facts=facts,
        is_shown=detail.shown == attempt,
        has_output=attempt.started_at is not None,
        status=facts.status(WorkloadKind(detail.job.kind)),
        words=ending_words(attempt) if is_ended else _NOW[state],
        more=ending_more(attempt) if is_ended else "",
        next=_next(detail, facts) if is_ended else "",
    )


def _next(detail: RunDetail, facts: AttemptFacts) -> str:
    """Whether it was run again, and by what right."""
    reason = facts.attempt.reason
    retry = ENDINGS[Reason(reason)].retry if reason in ENDINGS else Retry.NEVER
    most = detail.job.max_retries
    if facts.number in _retried(detail):
        if retry != Retry.USER:
            return "Run again"
        return f"Run again: retry {_errors_until(detail, facts)} of {most}"
    if facts.is_followed:
        return "Started again"
    if retry == Retry.USER and most and _errors_until(detail, facts) > most:
        return "No retries left"
    return ""


def _retried(detail: RunDetail) -> set[int]:
    """The attempts after which it was queued again by itself."""
    return {event.attempt_number for event in detail.events if event.reason == Reason.RETRYING}


def _errors_until(detail: RunDetail, facts: AttemptFacts) -> int:
    """How many attempts up to this one ended with an error of their own."""
    return sum(
        1
        for one in detail.attempts
        if one.number <= facts.number
        and one.attempt.reason in ENDINGS
        and ENDINGS[Reason(one.attempt.reason)].retry == Retry.USER
    )
