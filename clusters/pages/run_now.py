"""What changes on a run's page while the run lives, and where its parts are found."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.urls import reverse

from clusters.choices import WorkloadKind, WorkloadStatus
from clusters.models import Workload
from clusters.pages.run_attempts import attempt_badge, attempt_choice, attempt_rows
from clusters.pages.run_facts import stop_dialog
from clusters.pages.run_status import status_line
from clusters.queries.attempts import is_queued_by_engine
from clusters.queries.runs import RunDetail, rate_of

ATTEMPTS_SHOWN = 100
MEASURED = "Measured once a second while it runs."
NOT_MEASURED = "The machines of this pool do not report their GPUs to FastGPU."


@dataclass(frozen=True, slots=True)
class Links:
    """Addresses of a run's page and its parts."""

    page: str
    status: str
    stop: str
    log: str
    telemetry: str
    scalars: str
    board: str
    terminal: str
    socket: str


def links_of(run: Workload) -> Links:
    """The addresses of `run`, whose routes are named for its kind."""
    kind = WorkloadKind(run.kind).value

    def to(part: str) -> str:
        return reverse(f"{kind}{part}", args=[run.public_id])

    return Links(
        page=to(""),
        status=to("_status"),
        stop=to("_cancel" if run.kind == WorkloadKind.JOB else "_stop"),
        log=to("_log_download"),
        telemetry=to("_telemetry"),
        scalars=to("_scalars"),
        board=to("_board"),
        terminal=to("_terminal"),
        socket=f"/ws/{kind}s/{run.public_id}/",
    )


def chart_words(run: Workload) -> str:
    """What an empty chart of GPUs says."""
    return NOT_MEASURED if is_queued_by_engine(run.pool) else MEASURED


def now_of(detail: RunDetail, *, chosen: int | None) -> dict[str, Any]:
    """The context that the page and its refresh share. `chosen`: the attempt that is shown."""
    run, at = detail.job, detail.cost.at
    why = status_line(detail)
    rows = attempt_rows(detail)
    return {
        "job": run,
        "links": links_of(run),
        "detail": detail,
        "chosen": chosen,
        "asked": f"?attempt={chosen}" if chosen is not None else "",
        "last_event": detail.events[-1].pk if detail.events else 0,
        "may_stop": not detail.is_final and run.status != WorkloadStatus.STOPPING,
        "rate_micros": rate_of(run),
        "why": why,
        "starts_in": why.starts_at - at if why.starts_at else None,
        "attempt_badge": attempt_badge(detail),
        "ticks_from": at - (detail.ran_for or timedelta(0)),
        "rows": rows[-ATTEMPTS_SHOWN:],
        "choice": attempt_choice(rows, chosen=chosen),
        "attempts_left_out": max(0, len(detail.attempts) - ATTEMPTS_SHOWN),
        "stop": stop_dialog(detail),
    }
