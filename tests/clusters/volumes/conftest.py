"""Storage that is sold at $0.07 a GiB and month, and a volume of Alice's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from accounts.access import actor_of_user
from accounts.actor import Actor
from accounts.models import User
from billing.actions.prices import add_sku
from billing.choices import Meter
from clusters.actions.jobs import launch
from clusters.actions.launch_checks import JobRequest
from clusters.actions.trees import open_tree
from clusters.actions.volumes import create_volume
from clusters.models import Volume, Workload
from tests.conftest import Engine

MONTHLY = 70_000
MIB, GIB = 1024**2, 1024**3


@pytest.fixture(autouse=True)
def _sold(engine: Engine, settings: Any) -> None:
    settings.STORAGE_SKU = "storage"
    add_sku(Actor.system(), "storage", label="Storage", unit_micros=MONTHLY, meter=Meter.STORAGE)


@pytest.fixture
def volume(actor: Actor) -> Volume:
    """Ten GiB called data."""
    return create_volume(actor, name="data", size_gib=10)


@pytest.fixture
def root(engine: Engine, volume: Volume) -> Path:
    """Where it lies."""
    open_tree(volume).close()
    return engine.backend.volume_path(volume.public_id)


@pytest.fixture
def member(bob: User) -> Actor:
    """Bob, who is no owner."""
    return actor_of_user(bob)


@pytest.fixture
def stranger(charlie: User) -> Actor:
    """Charlie, of another team."""
    return actor_of_user(charlie)


def mount(actor: Actor, volume: Volume) -> Workload:
    """A job in the queue that will mount it."""
    request = JobRequest(name="train", pool="a100", gpus=1, command="x", time_limit_seconds=600)
    job = launch(actor, request)
    Workload.objects.filter(pk=job.pk).update(volume=volume)
    job.refresh_from_db()
    return job
