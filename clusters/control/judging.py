"""What a notebook is found to do, from evidence. Pure: no clock, no database, no network."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from clusters.choices import Verdict


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one look has found; None is unknown, never nothing.

    Of `kernels`, `kernels_busy` execute. `used_at` is when a kernel or a terminal was last spoken
    to. `connections` browsers are connected. GPU and CPU are means in percent since the look
    before, of all GPUs and of one core. `problem` says why something is not known.
    """

    kernels: int | None = None
    kernels_busy: int | None = None
    used_at: datetime | None = None
    connections: int | None = None
    gpu_percent: float | None = None
    cpu_percent: float | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """Less than this counts as nothing done."""

    gpu_percent: float
    cpu_percent: float


@dataclass(frozen=True, slots=True)
class Finding:
    """A verdict and the sentence that says why."""

    verdict: Verdict
    words: str


def judge(evidence: Evidence, limits: Limits, *, since: datetime) -> Finding:
    """Busy if anything was done since `since`, idle if all is known and nothing was, else unknown.

    A browser that is connected and does nothing is no work: its person sees the countdown.
    """
    if evidence.kernels_busy:
        many = evidence.kernels_busy
        return Finding(Verdict.BUSY, f"{many} kernel{'s' if many > 1 else ''} executing")
    if evidence.gpu_percent is not None and evidence.gpu_percent >= limits.gpu_percent:
        return Finding(Verdict.BUSY, f"GPUs {evidence.gpu_percent:.0f} % busy")
    if evidence.cpu_percent is not None and evidence.cpu_percent >= limits.cpu_percent:
        return Finding(Verdict.BUSY, f"CPU {evidence.cpu_percent:.0f} % of a core busy")
    if evidence.used_at is not None and evidence.used_at > since:
        return Finding(Verdict.BUSY, "A kernel or a terminal was used")
    unknown = [name for name, value in _needed(evidence).items() if value is None]
    if unknown:
        return Finding(Verdict.UNKNOWN, evidence.problem or f"Not known: {', '.join(unknown)}")
    return Finding(Verdict.IDLE, "Nothing executes, nobody uses it, GPUs and CPU rest")


def _needed(evidence: Evidence) -> dict[str, object]:
    return {
        "kernels": evidence.kernels_busy,
        "GPU use": evidence.gpu_percent,
        "CPU use": evidence.cpu_percent,
    }


@dataclass(frozen=True, slots=True)
class Countdown:
    """How long it has been idle, and when it will be stopped for that; None: not in sight.

    `idle_since` moves along with what is unknown: such time counts as neither.
    """

    idle_since: datetime | None
    stops_at: datetime | None


def count_down(
    before: Countdown,
    verdict: Verdict,
    *,
    last: datetime,
    now: datetime,
    limit: timedelta | None,
    notice: timedelta,
    keep_until: datetime | None,
) -> Countdown:
    """The countdown after a look at `now`, the look before having been at `last`.

    `limit` None: idleness never stops it. Until `keep_until` it does not count. The end is
    announced `notice` before it, or for all of a shorter limit, however late idleness was found;
    it comes no sooner than it was announced for.
    """
    kept = keep_until is not None and now < keep_until
    if limit is None or verdict == Verdict.BUSY or kept:
        return Countdown(None, None)
    if verdict == Verdict.UNKNOWN:
        since = before.idle_since
        return Countdown(since + (now - last) if since is not None else None, None)
    since = max(filter(None, [before.idle_since, keep_until]), default=now)
    if before.stops_at is not None:
        return Countdown(since, before.stops_at)
    stops_at = max(since + limit, now + min(notice, limit))
    return Countdown(since, stops_at if stops_at - now <= notice else None)
