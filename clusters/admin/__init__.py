"""The staff console's view of pools, machines, engines and runs, and what operators do there."""

from clusters.admin.engines import EngineAdmin
from clusters.admin.nodes import GpuAdmin, NodeAdmin
from clusters.admin.pools import PoolAdmin
from clusters.admin.runs import WorkloadAdmin
from clusters.admin.volumes import VolumeAdmin

__all__ = ["EngineAdmin", "GpuAdmin", "NodeAdmin", "PoolAdmin", "VolumeAdmin", "WorkloadAdmin"]
