"""Looks at what notebooks do, shows the countdown, stops what was idle for as long as agreed."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from django.conf import settings
from django.db import transaction
from django.db.models import Avg, Q, QuerySet

from accounts.actor import Actor
from billing.actions.telling import tell_once
from clusters.actions.locks import lock_workload
from clusters.actions.stopping import request_stop
from clusters.backends.base import Endpoint
from clusters.choices import AppState, Reason, Service, Verdict, WorkloadStatus
from clusters.control.judging import Countdown, Evidence, Limits, count_down, judge
from clusters.control.proxy import Connections, connections
from clusters.control.servers import ServerState, Unreadable, read_server
from clusters.emails import send_countdown
from clusters.models import App, GpuSample, IdleCheck, IdleStop, Notebook
from portal.lib import clock
from portal.lib.errors import Conflict

logger = logging.getLogger(__name__)
EVERY = timedelta(seconds=60)
# A gap between two looks longer than this is time of which nothing is known.
GAP = 3 * EVERY
AT_ONCE = 16
KEPT = timedelta(days=7)
# Of the looks before a stop so many are kept with it.
MOST_EVIDENCE = 24 * 60
NO_SAMPLES = "No sample of its GPUs came"


@dataclass(frozen=True, slots=True)
class Look:
    """A running notebook whose server answers, and what was found at the look before."""

    app: App
    notebook: Notebook
    before: IdleCheck | None

    @property
    def attempt_number(self) -> int:
        """Of what runs now."""
        assert self.app.attempt is not None  # noqa: S101  # notebooks are served by attempts
        return self.app.attempt.number


def look_at_notebooks() -> int:
    """Look at every notebook whose turn it is; returns how many. Two at once do no harm."""
    due = _due(clock.now())
    if not due:
        return 0
    seen = connections()
    with ThreadPoolExecutor(min(AT_ONCE, len(due)), thread_name_prefix="look") as pool:
        answers = list(pool.map(_ask, [look.app for look in due]))
    for look, answer in zip(due, answers, strict=True):
        _note(look, _evidence(look, answer, seen))
    return len(due)


def _due(now: datetime) -> list[Look]:
    apps = App.objects.select_related("workload__notebook", "workload__team", "attempt").filter(
        service=Service.LAB,
        state=AppState.READY,
        workload__status=WorkloadStatus.RUNNING,
        attempt__missing_since__isnull=True,
    )
    found = []
    for app in apps.order_by("pk"):
        assert app.workload is not None  # noqa: S101  # notebooks are workloads
        before = IdleCheck.objects.filter(workload=app.workload).order_by("-at").first()
        look = Look(app, app.workload.notebook, before)
        if before is None or before.at <= now - EVERY:
            found.append(look)
    return found


def _ask(app: App) -> ServerState | Unreadable:
    try:
        return read_server(Endpoint(**app.endpoint))
    except Unreadable as error:
        return error


def _evidence(
    look: Look, answer: ServerState | Unreadable, seen: Mapping[str, Connections] | None
) -> tuple[Evidence, float | None]:
    """What is known, and the CPU seconds so far for the next look to compare with."""
    if isinstance(answer, Unreadable):
        return Evidence(problem=str(answer)), None
    now = clock.now()
    before = look.before if _is_of_this_attempt(look) else None
    gpu = _gpu_percent(look, since=before.at if before else now - EVERY)
    gpu = answer.gpu_percent if gpu is None else gpu
    found = Evidence(
        kernels=answer.kernels,
        kernels_busy=answer.kernels_busy,
        used_at=answer.used_at,
        connections=seen[look.app.name].open if seen and look.app.name in seen else None,
        gpu_percent=gpu,
        cpu_percent=_cpu_percent(before, answer.cpu_seconds, now),
        problem=NO_SAMPLES if gpu is None else "",
    )
    return found, answer.cpu_seconds


def _is_of_this_attempt(look: Look) -> bool:
    return look.before is not None and look.before.attempt_number == look.attempt_number


def _gpu_percent(look: Look, *, since: datetime) -> float | None:
    samples = GpuSample.objects.filter(attempt=look.app.attempt, at__gt=since)
    mean: float | None = samples.aggregate(mean=Avg("utilization_percent"))["mean"]
    return mean


def _cpu_percent(
    before: IdleCheck | None, cpu_seconds: float | None, now: datetime
) -> float | None:
    """Of one core, since the look before; None for the first look."""
    if before is None or before.cpu_seconds is None or cpu_seconds is None or now <= before.at:
        return None
    used = max(0.0, cpu_seconds - before.cpu_seconds)
    return used / (now - before.at).total_seconds() * 100


@transaction.atomic
def _note(look: Look, found: tuple[Evidence, float | None]) -> None:
    """Keep the look and move the countdown. The notebook's row says whose look counts."""
    evidence, cpu_seconds = found
    now = clock.now()
    notebook = Notebook.objects.select_for_update(no_key=True).get(pk=look.notebook.pk)
    last = look.before.at if look.before is not None and _is_of_this_attempt(look) else now - EVERY
    limits = Limits(settings.IDLE_GPU_PERCENT, settings.IDLE_CPU_PERCENT)
    finding = judge(evidence, limits, since=last)
    IdleCheck.objects.create(
        workload_id=notebook.pk,
        attempt_number=look.attempt_number,
        at=now,
        verdict=finding.verdict,
        kernels=evidence.kernels,
        kernels_busy=evidence.kernels_busy,
        connections=evidence.connections,
        gpu_percent=evidence.gpu_percent,
        cpu_percent=evidence.cpu_percent,
        cpu_seconds=cpu_seconds,
        words=finding.words[:200],
    )
    _move(notebook, finding.verdict, last=last, now=now)


def _move(notebook: Notebook, verdict: Verdict, *, last: datetime, now: datetime) -> None:
    is_counting = notebook.stops_for == Reason.IDLE
    before = Countdown(notebook.idle_since, notebook.stops_at if is_counting else None)
    step = partial(
        count_down,
        limit=timedelta(minutes=notebook.idle_minutes) if notebook.idle_minutes else None,
        notice=timedelta(minutes=settings.IDLE_NOTICE_MINUTES),
        keep_until=notebook.keep_until,
    )
    if now - last > GAP and before.idle_since is not None:
        # Nobody looked: what happened meanwhile is not known.
        before = step(before, Verdict.UNKNOWN, last=last, now=now)
    after = step(before, verdict, last=last, now=now)
    notebook.idle_since = after.idle_since
    if after.stops_at is not None:
        notebook.stops_at, notebook.stops_for = after.stops_at, Reason.IDLE
    elif is_counting:
        notebook.stops_at, notebook.stops_for, notebook.warned_at = None, "", None
    notebook.save(update_fields=["idle_since", "stops_at", "stops_for", "warned_at"])


def stop_due() -> int:
    """Stop what was idle for as long as agreed, and what was told to stop by now; how many.

    An idle one only if the latest look found it idle, and was made within the last moments: what
    is unknown now is not stopped for what was known before.
    """
    now = clock.now()
    running = Notebook.objects.filter(workload__status=WorkloadStatus.RUNNING)
    idle = running.filter(stops_for=Reason.IDLE, stops_at__lte=now)
    stopped = sum(_stop_idle(notebook) for notebook in _with_workload(idle))
    timed = running.filter(stop_at__lte=now)
    return stopped + sum(
        _stop(notebook, Reason.STOP_TIME, "its time to stop") for notebook in _with_workload(timed)
    )


def _with_workload(rows: QuerySet[Notebook]) -> Sequence[Notebook]:
    return list(rows.select_related("workload").order_by("pk"))


def _stop_idle(notebook: Notebook) -> bool:
    latest = IdleCheck.objects.filter(workload=notebook.pk).order_by("-at").first()
    if latest is None or latest.verdict != Verdict.IDLE or latest.at < clock.now() - GAP:
        return False
    with transaction.atomic():
        lock_workload(notebook.pk)
        # Somebody may have kept it this moment.
        still = Notebook.objects.select_for_update(no_key=True).filter(
            pk=notebook.pk, stops_for=Reason.IDLE, stops_at__lte=clock.now()
        )
        if notebook.idle_since is None or still.first() is None:
            return False
        made = IdleStop.objects.get_or_create(
            workload_id=notebook.pk,
            attempt_number=latest.attempt_number,
            defaults={
                "at": clock.now(),
                "idle_since": notebook.idle_since,
                "idle_minutes": notebook.idle_minutes,
                "evidence": _looks(notebook, latest.attempt_number),
            },
        )[1]
        return made and _stop(notebook, Reason.IDLE, "idle")


def _stop(notebook: Notebook, reason: Reason, words: str) -> bool:
    try:
        request_stop(notebook.workload, reason, actor=Actor.system(words))
    except Conflict:
        return False  # it ended by itself meanwhile
    return True


def _looks(notebook: Notebook, attempt_number: int) -> list[dict[str, object]]:
    """What the stop was decided by, oldest first."""
    looks = IdleCheck.objects.filter(workload=notebook.pk, attempt_number=attempt_number)
    return [
        {
            "at": look.at.isoformat(),
            "verdict": look.verdict,
            "kernels": look.kernels,
            "kernels_busy": look.kernels_busy,
            "connections": look.connections,
            "gpu_percent": look.gpu_percent,
            "cpu_percent": look.cpu_percent,
            "words": look.words,
        }
        for look in reversed(looks.order_by("-at")[:MOST_EVIDENCE])
    ]


def announce() -> int:
    """Show what will stop soon for another reason than idleness, and mail every countdown once."""
    now = clock.now()
    soon = now + timedelta(minutes=settings.IDLE_NOTICE_MINUTES)
    running = Notebook.objects.filter(workload__status=WorkloadStatus.RUNNING)
    for notebook in _with_workload(running.filter(~Q(stops_for=Reason.IDLE))):
        _announce(notebook, soon)
    untold = running.filter(stops_at__isnull=False, warned_at__isnull=True)
    return sum(_tell(key) for key in list(untold.values_list("pk", flat=True)))


def _announce(notebook: Notebook, soon: datetime) -> None:
    """The end by its own time or its longest life, once it is near."""
    ends = _ends_of(notebook)
    near = {at: reason for at, reason in ends.items() if at <= soon}
    at = min(near, default=None)
    reason = near[at] if at is not None else ""
    if (notebook.stops_at, notebook.stops_for) != (at, reason):
        Notebook.objects.filter(pk=notebook.pk).exclude(stops_for=Reason.IDLE).update(
            stops_at=at, stops_for=reason, warned_at=None
        )


def _ends_of(notebook: Notebook) -> dict[datetime, Reason]:
    workload = notebook.workload
    ends: dict[datetime, Reason] = {}
    if workload.started_at is not None:
        life = timedelta(seconds=workload.time_limit_seconds)
        ends[workload.started_at + life] = Reason.TIME_LIMIT
    if notebook.stop_at is not None:
        ends[notebook.stop_at] = Reason.STOP_TIME
    return ends


def _tell(notebook_id: int) -> bool:
    row = Notebook.objects.filter(pk=notebook_id)

    def send() -> None:
        notebook = row.select_related("workload__created_by", "workload__price").get()
        if notebook.stops_at is not None:
            send_countdown(notebook)

    return tell_once(row.filter(stops_at__isnull=False), send, noted="warned_at")


def forget_old_looks() -> int:
    """Delete looks older than a week; those a stop was decided by are kept with it."""
    deleted, _ = IdleCheck.objects.filter(at__lt=clock.now() - KEPT).delete()
    return deleted
