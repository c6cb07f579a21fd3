"""Models of clusters."""

from clusters.models.app import App, AppSession, AppTicket, Side
from clusters.models.notebook import (
    IdleCheck,
    IdleStop,
    Notebook,
    NotebookGuest,
    NotebookShare,
)
from clusters.models.pool import Engine, Gpu, GpuAllotment, Node, Pool
from clusters.models.schedule import Schedule, ScheduleRun
from clusters.models.volume import Volume
from clusters.models.workload import Attempt, GpuSample, Workload, WorkloadEvent

__all__ = [
    "App",
    "AppSession",
    "AppTicket",
    "Attempt",
    "Engine",
    "Gpu",
    "GpuAllotment",
    "GpuSample",
    "IdleCheck",
    "IdleStop",
    "Node",
    "Notebook",
    "NotebookGuest",
    "NotebookShare",
    "Pool",
    "Schedule",
    "ScheduleRun",
    "Side",
    "Volume",
    "Workload",
    "WorkloadEvent",
]
