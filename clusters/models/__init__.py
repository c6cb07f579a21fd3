"""Models of clusters."""

from clusters.models.pool import Gpu, GpuAllotment, Node, Pool
from clusters.models.workload import Attempt, GpuSample, Workload, WorkloadEvent

__all__ = [
    "Attempt",
    "Gpu",
    "GpuAllotment",
    "GpuSample",
    "Node",
    "Pool",
    "Workload",
    "WorkloadEvent",
]
