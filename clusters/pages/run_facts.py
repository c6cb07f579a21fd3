"""What stands beside a run's status: its timeline, its details and what Stop would do."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from billing.queries.storage import storage_micros_per_day
from clusters.choices import AttemptState, Reason, WorkloadKind, WorkloadStatus
from clusters.models import Workload, WorkloadEvent
from clusters.queries.attempts import is_queued_by_engine
from clusters.queries.runs import RunDetail, most_micros, rate_of
from clusters.queries.volumes import found_at
from portal.templatetags.portal_format import duration, money, money_precise

STEPS_SHOWN = 24


def steps_of(detail: RunDetail) -> list[dict[str, Any]]:
    """The timeline: what happened, what is now, what comes next. A retry begins anew."""
    last = len(detail.events) - 1
    steps = [
        {
            "title": _title(event),
            "text": _event_text(event, is_last=index == last),
            "at": event.at,
            "state": _tone(event, is_last=index == last, is_final=detail.is_final),
        }
        for index, event in enumerate(detail.events)
    ]
    return _shortened(steps) + _coming(detail)


def _shortened(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first and the latest steps of a run that was retried very often."""
    over = len(steps) - STEPS_SHOWN
    if over <= 0:
        return steps
    between = {"title": f"{over} more steps", "text": "Every attempt stands under Attempts."}
    return [steps[0], between | {"state": "done"}, *steps[over + 1 :]]


def _coming(detail: RunDetail) -> list[dict[str, Any]]:
    status = detail.job.status
    if detail.is_final or status == WorkloadStatus.STOPPING:
        return []
    coming = [WorkloadStatus.STARTING, WorkloadStatus.RUNNING]
    if is_queued_by_engine(detail.job.pool):
        coming.remove(WorkloadStatus.STARTING)  # such an engine is asked once and starts it
    if status == WorkloadStatus.RUNNING:
        coming = []
    titles = [one.label for one in coming if one != status]
    return [{"title": title, "state": "next"} for title in [*titles, "Ended"]]


def _title(event: WorkloadEvent) -> str:
    if event.reason == Reason.RETRYING:
        return Reason.RETRYING.label
    return event.get_status_display()


def _tone(event: WorkloadEvent, *, is_last: bool, is_final: bool) -> str:
    if not is_last:
        return "done"
    if not is_final:
        return "now"
    return "bad" if event.status == WorkloadStatus.FAILED else "done"


def _event_text(event: WorkloadEvent, *, is_last: bool) -> str:
    """The reason in words; what is true at its end only is said of the last event."""
    reason = Reason(event.reason)
    by = f" by {event.actor}" if event.actor and event.actor != "FastGPU" else ""
    if reason == Reason.RETRYING:
        return event.message
    if event.status == WorkloadStatus.QUEUED:
        return f"Launched{by}."
    if reason == Reason.STOP_REQUESTED:
        return f"Asked to stop{by}. It may still save its work."
    if not is_last or reason == Reason.RUNNING:
        return ""
    return f"{reason.label}."


def details_of(detail: RunDetail) -> list[dict[str, Any]]:
    """What was asked for, what it is given and where it is."""
    job = detail.job
    items = asked_for(job)
    if job.nodes > 1:
        each = f"{job.nodes}, {job.gpus // job.nodes} GPUs each"
        items.append({"label": "Nodes", "value": each})
    items += [
        {"label": "Time limit", "value": f"{duration(job.time_limit_seconds)} over all attempts"},
        {"label": "Retry on error", "value": _retries(job)},
        *price_of(job, "at its time limit"),
    ]
    if job.env:
        items.append({"label": "Variables", "value": ", ".join(job.env), "mono": True})
    return items + given_to(job)


def asked_for(job: Workload) -> list[dict[str, Any]]:
    """What every launch names."""
    gpu = f"{job.gpus} \N{MULTIPLICATION SIGN} {job.pool.gpu_model}"
    volume = f"{job.volume.name}, at {found_at(job.volume)}" if job.volume else "None"
    return [
        {"label": "Id", "value": job.public_id, "copyable": True},
        {"label": "Launched by", "value": str(job.created_by)},
        {"label": "Launched", "value": instant(job.created_at)},
        {"label": "Pool", "value": job.pool.name},
        {"label": "GPU", "value": gpu},
        {"label": "Environment", "value": job.environment, "mono": True},
        {"label": "Volume", "value": volume},
    ]


def price_of(job: Workload, when: str) -> list[dict[str, Any]]:
    """What it costs, and the most it can come to."""
    items = [
        {"label": "Price", "value": f"{money(job.price.micros_per_hour)} per GPU and hour"},
        {"label": "At most", "value": f"{money_precise(most_micros(job))} {when}"},
    ]
    if job.project:
        items.append({"label": "Project", "value": job.project})
    return items


def _retries(job: Workload) -> str:
    if not job.max_retries:
        return "No; lost machines are always retried"
    return f"{job.max_retries} times" if job.max_retries > 1 else "Once"


def given_to(job: Workload) -> list[dict[str, Any]]:
    """The limits of its sandbox."""
    pool = job.pool
    gpus = job.gpus // job.nodes
    each = " on each node" if job.nodes > 1 else ""
    memory = pool.memory_bytes_per_gpu * gpus / 1024**3
    return [
        {"label": "Memory", "value": f"{memory:.1f} GiB{each}"},
        {"label": "CPU", "value": f"{pool.cpu_cores_per_gpu * gpus:g} cores{each}"},
        {"label": "Disk", "value": f"{pool.disk_bytes / 1024**3:.0f} GiB{each}"},
        {"label": "Network", "value": "Allowed" if pool.has_network else "None"},
    ]


def instant(at: datetime) -> str:
    """A time to the second."""
    return f"{at:%-d %b %Y, %H:%M:%S} UTC"


def stop_dialog(detail: RunDetail) -> dict[str, Any]:
    """What Stop does and what still costs."""
    job, latest = detail.job, detail.attempt
    if latest is None or latest.started_at is None:
        return _stop_in_queue(detail)
    is_notebook = job.kind == WorkloadKind.NOTEBOOK
    grace = job.pool.grace_seconds
    rate = rate_of(job)
    still = rate * grace // 3600
    after = "It can be started again." if is_notebook else "It is not run again."
    facts = [
        {"label": "Still costs", "value": f"Up to {money_precise(still)} for those seconds"},
        {"label": "After that", "value": f"Nothing: {money(rate)}/h is saved"},
        {"label": "Files", "value": _kept(job)},
    ]
    if is_notebook:
        facts.append({"label": "Lost", "value": "What is in memory only: variables, running cells"})
    return {
        "title": f"Stop {job.name}?",
        "text": f"It is asked to end, and ended after {grace} seconds if it has not. {after}",
        "facts": facts,
        "button": f"Stop the {job.get_kind_display().lower()}",
    }


def _kept(job: Workload) -> str:
    """What is kept, and what the team goes on paying for it."""
    storage = storage_micros_per_day(job.team)
    if not storage:
        return "What it wrote is kept, at no cost"
    return f"What it wrote is kept; after Stop you still pay {money(storage)} a day for storage"


def _stop_in_queue(detail: RunDetail) -> dict[str, Any]:
    job, latest = detail.job, detail.attempt
    has_run = len(detail.attempts) > 1
    place = "the queue"
    if (
        latest is not None
        and latest.state != AttemptState.INTENDED
        and is_queued_by_engine(job.pool)
    ):
        place = "the cluster's queue"
    after = ""
    if job.kind == WorkloadKind.NOTEBOOK:
        after = " It can be started again."
    elif has_run:
        after = " It is not run again."
    spent = money_precise(detail.cost.total_micros)
    charged = f"{spent} so far, nothing more" if has_run else "Nothing"
    return {
        "title": f"Stop {job.name}?",
        "text": f"It is taken out of {place}, or ended before it has begun.{after}",
        "facts": [
            {"label": "Charged", "value": f"{charged}, unless it has begun meanwhile"},
            {"label": "Files", "value": "What it wrote is kept" if has_run else "None yet"},
        ],
        "button": "Stop it",
    }
