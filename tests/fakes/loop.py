"""The control loop by hand: what beat and the workers do in one second, in this thread."""

from __future__ import annotations

from django.db.models import F

from clusters.control.engines import MIN_INTERVAL
from clusters.models import Engine, Pool
from clusters.tasks import drive_pool, observe

OWNER = "tests"


def tick() -> None:
    """Look at every engine and drive every pool, however short ago that was."""
    Engine.objects.update(surveyed_at=F("surveyed_at") - MIN_INTERVAL, retry_at=None)
    for name in sorted(set(Pool.objects.values_list("backend", flat=True))):
        observe(name)
    for pool_id in Pool.objects.order_by("pk").values_list("pk", flat=True):
        drive_pool(pool_id)
