"""What is a notebook's own, as it is shown."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from clusters.choices import AppState, Service
from clusters.models import App, Attempt, IdleCheck, IdleStop, Workload

# A day of looks; older ones are in the database and in no chart.
LOOKS_SHOWN = 1440
STOPS_SHOWN = 10


def lab_of(attempt: Attempt | None) -> App | None:
    """What serves, or served, an attempt of a notebook; None where its engine never named it."""
    return App.objects.filter(attempt=attempt, service=Service.LAB).order_by("-pk").first()


def is_served(name: str) -> bool:
    """Whether something answers under this name."""
    return App.objects.filter(name=name[:63], state=AppState.READY).exists()


def looks_at(notebook: Workload, attempt_number: int) -> list[IdleCheck]:
    """What an attempt of it was judged by, oldest first; the latest `LOOKS_SHOWN`."""
    found = IdleCheck.objects.filter(workload=notebook, attempt_number=attempt_number)
    return list(found.order_by("-at")[:LOOKS_SHOWN])[::-1]


def idle_stops_of(notebook: Workload) -> list[IdleStop]:
    """The latest times it was stopped as idle, newest first."""
    return list(IdleStop.objects.filter(workload=notebook).order_by("-at")[:STOPS_SHOWN])


def look(check: IdleCheck) -> dict[str, Any]:
    """One look as JSON: what charts are drawn from, and the form of `IdleStop.evidence`."""
    return {
        "at": _milliseconds(check.at),
        "verdict": check.verdict,
        "kernels": check.kernels,
        "kernels_busy": check.kernels_busy,
        "connections": check.connections,
        "gpu_percent": check.gpu_percent,
        "cpu_percent": check.cpu_percent,
        "words": check.words,
    }


def _milliseconds(at: datetime) -> int:
    return round(at.timestamp() * 1000)
