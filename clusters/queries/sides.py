"""The small servers beside the work, as pages and programs look for them."""

from __future__ import annotations

from clusters.actions.apps import name_of
from clusters.choices import Service
from clusters.models import Side, Workload
from clusters.queries.notebooks import is_served


def board_open_of(run: Workload) -> Side | None:
    """The TensorBoard over a run that is open or on its way."""
    return Side.objects.filter(
        workload=run, service=Service.TENSORBOARD, ended_at__isnull=True
    ).first()


def is_ready(side: Side) -> bool:
    """Whether it answers."""
    return side.ended_at is None and is_served(name_of(Service(side.service), side.public_id))
