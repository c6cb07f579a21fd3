"""Whether work that runs can be given a terminal, and how far one is."""

from __future__ import annotations

from clusters.actions.apps import name_of
from clusters.backends.base import BackendUnavailable
from clusters.backends.capabilities import Terminals
from clusters.backends.registry import backend
from clusters.choices import AppState, Service, WorkloadStatus
from clusters.models import App, Workload


def offers_terminal(run: Workload) -> bool:
    """Whether it runs, on an engine that has terminals."""
    if run.status != WorkloadStatus.RUNNING:
        return False
    try:
        return isinstance(backend(run.pool.backend), Terminals)
    except BackendUnavailable:
        return False


def terminal_of(run: Workload) -> App | None:
    """What serves its terminal; None where none was opened, or its server has ended."""
    name = name_of(Service.TERMINAL, run.public_id)
    opened = App.objects.filter(name=name).exclude(state=AppState.CLOSED)
    return opened.exclude(endpoint={}).first()
