"""What the console shows of a pool."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.decorators import display

from billing.documents.words import price as price_words
from billing.queries.prices import list_prices
from clusters.backends.registry import backend_names
from clusters.models import Pool
from clusters.queries.pools import with_counts
from portal.lib import clock
from portal.lib.staff import LookOnlyAdmin

STATE_COLOURS = {
    "Open": "success",
    "Closed": "default",
    "Breaker open": "danger",
    "Starts nothing": "warning",
}


class PoolColumns(LookOnlyAdmin):
    """Columns that are worked out."""

    def get_queryset(self, request: HttpRequest) -> QuerySet[Pool]:
        """With its GPUs."""
        return with_counts(super().get_queryset(request))

    @display(description="State", label=STATE_COLOURS)  # type: ignore[untyped-decorator]
    def state(self, pool: Pool) -> str:
        """Whether it starts work."""
        if not pool.is_open:
            return "Closed"
        if pool.breaker_opened_at is not None:
            return "Breaker open"
        return "Open" if pool.may_start else "Starts nothing"

    @admin.display(description="Engine", ordering="backend")
    def engine(self, pool: Pool) -> str:
        """As the settings call it."""
        return backend_names().get(pool.backend, f"{pool.backend} (not in the settings)")

    @admin.display(description="GPUs free")
    def gpus(self, pool: Any) -> str:
        """Of those present."""
        return f"{pool.free_count} of {pool.gpu_count}"

    @admin.display(description="List price")
    def per_hour(self, pool: Pool) -> str:
        """Of one GPU, now."""
        micros = list_prices(at=clock.now()).get(pool.sku_code)
        return "none" if micros is None else price_words(micros)

    @admin.display(description="Of one job, at most")
    def of_a_job(self, pool: Pool) -> str:
        """What a job gets."""
        nodes = pool.max_nodes_per_workload
        return (
            f"{pool.max_gpus_per_workload} GPUs on {nodes} node{'s'[: nodes > 1]}, "
            f"{pool.max_time_limit_seconds / 3600:g} h, {pool.grace_seconds} s to save its work, "
            f"{pool.disk_bytes / 1024**3:.4g} GiB of disk, {pool.log_bytes / 1024**2:.4g} MiB of "
            f"log, {pool.pids} processes"
        )

    @admin.display(description="Of each GPU")
    def of_a_gpu(self, pool: Pool) -> str:
        """What comes with a GPU."""
        memory = pool.memory_bytes_per_gpu / 1024**3
        return f"{memory:.4g} GiB of memory, {pool.cpu_cores_per_gpu:.3g} CPU cores"
