"""Pools as they are shown."""

from __future__ import annotations

from django.db.models import Count, F, Q, QuerySet

from clusters.models import Pool


def with_counts(pools: QuerySet[Pool]) -> QuerySet[Pool]:
    """Add `gpu_count` and `free_count`: GPUs present, and those nobody has now."""
    present = Q(nodes__gpus__is_present=True)
    taken = present & Q(
        nodes__gpus__allotments__isnull=False, nodes__gpus__allotments__released_at__isnull=True
    )
    return pools.annotate(
        gpu_count=Count("nodes__gpus", filter=present, distinct=True),
        taken_count=Count("nodes__gpus", filter=taken, distinct=True),
    ).annotate(free_count=F("gpu_count") - F("taken_count"))
