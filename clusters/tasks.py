"""Celery's view of the control loop: a hint drives one pool, the sweep drives all."""

from __future__ import annotations

import os
import socket

from celery import shared_task
from django.core.cache import cache

from clusters.actions.funds import stop_unfunded
from clusters.control.observe import observe_pool, refresh_pools
from clusters.control.placement import place
from clusters.control.submit import pass_on_stops, submit_placed
from clusters.models import Pool

HEARTBEAT_SECONDS = 10


def _owner() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


@shared_task(name="clusters.tasks.drive_pool")
def drive_pool(pool_id: int) -> None:
    """Place, submit and stop what waits in one pool."""
    place(pool_id)
    submit_placed(pool_id, owner=_owner())
    pass_on_stops(pool_id)


@shared_task(name="clusters.tasks.sweep")
def sweep() -> None:
    """Look at every pool: finds what a lost hint left, and what engines report."""
    cache.set("heartbeat:worker", 1, HEARTBEAT_SECONDS)
    for pool in Pool.objects.order_by("pk"):
        observe_pool(pool)
        drive_pool(pool.pk)


@shared_task(name="clusters.tasks.refresh")
def refresh() -> None:
    """Ask engines for inventory and health."""
    refresh_pools()


@shared_task(name="clusters.tasks.enforce_funds")
def enforce_funds() -> None:
    """Stop the work of teams whose credit has run out."""
    stop_unfunded()
