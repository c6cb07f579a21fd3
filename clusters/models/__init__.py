"""Models of clusters."""

from clusters.models.pool import Engine, Gpu, GpuAllotment, Node, Pool
from clusters.models.workload import Attempt, GpuSample, Workload, WorkloadEvent

__all__ = [
    "Attempt",
    "Engine",
    "Gpu",
    "GpuAllotment",
    "GpuSample",
    "Node",
    "Pool",
    "Workload",
    "WorkloadEvent",
]
