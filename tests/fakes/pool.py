"""A pool on any backend."""

from __future__ import annotations

from clusters.actions.pools import refresh_inventory
from clusters.backends.base import Backend
from clusters.models import Pool


def make_pool(engine: Backend) -> Pool:
    """A pool named `a100` with what `engine` reports, sold as SKU `a100-test`."""
    pool = Pool.objects.create(
        slug="a100",
        name="A100 test",
        backend="local",
        sku_code="a100-test",
        gpu_model="NVIDIA A100",
        is_virtual=True,
        max_gpus_per_workload=4,
        environments=["python-data", "system"],
    )
    refresh_inventory(pool, engine.inventory({}), engine.health({}))
    pool.refresh_from_db()
    return pool
