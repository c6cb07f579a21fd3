"""Starts, follows and ends the small servers beside the work, on this machine's engine.

They hold no GPU, cost nothing, see what they show read-only, and end when nobody has looked at
them for a while.
"""

from __future__ import annotations

import logging
import shlex
from collections.abc import Mapping
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path

from django.conf import settings
from django.db import transaction

from clusters.actions.apps import name_of
from clusters.actions.sides import end_side
from clusters.backends.base import (
    BackendUnavailable,
    Handle,
    LaunchRefused,
    LaunchSpec,
    Limits,
    Phase,
    ReadFolder,
)
from clusters.backends.capabilities import Folders, Serving, Volumes
from clusters.backends.registry import backend
from clusters.choices import Service
from clusters.control.proxy import connections
from clusters.models import App, Attempt, Side
from portal.lib import clock

logger = logging.getLogger(__name__)
# Where they run: the engine of the portal's own machine.
ENGINE = "local"
IDLE = timedelta(minutes=30)
LONGEST = timedelta(hours=12)
LOGS = "/logs"
LIMITS = Limits(
    memory_bytes=2 << 30, pids=128, cpu_cores=1.0, disk_bytes=256 << 20, log_bytes=4 << 20
)
GRACE_SECONDS = 2
# A sandbox that is over leaves its row for so long, so that its end is sent once more if need be.
FORGET_AFTER = timedelta(minutes=10)


def drive_sides() -> None:
    """Bring every side to what it shall be. Safe to repeat, and for two at once."""
    for side in Side.objects.filter(ended_at__isnull=True).select_related(
        "workload__pool", "volume"
    ):
        try:
            _drive(side)
        except BackendUnavailable as error:
            logger.warning("%s is left as it is: %s", side.external_name, error)
    _end_sandboxes()


def end_unused() -> int:
    """End what nobody has looked at for a while; returns how many."""
    now = clock.now()
    seen = connections() or {}
    ended = 0
    for side in Side.objects.filter(ended_at__isnull=True):
        if name_of(Service.TENSORBOARD, side.public_id) in seen:
            Side.objects.filter(pk=side.pk).update(used_at=now)
        elif side.used_at < now - IDLE or side.created_at < now - LONGEST:
            with transaction.atomic():
                end_side(side, "Nobody looked at it any more")
            ended += 1
    return ended


def _drive(side: Side) -> None:
    engine = backend(ENGINE)
    if not isinstance(engine, Serving):
        _fail(side, "This installation has no engine that serves such pages")
        return
    seen = engine.observe([Handle(side.external_name)]).seen.get(side.external_name)
    if seen is not None and seen.phase == Phase.ENDED:
        _fail(side, seen.detail or "It ended by itself")
        return
    if seen is None:
        try:
            engine.submit(_spec(side))
        except LaunchRefused as error:
            _fail(side, str(error))
            return
    endpoint = engine.endpoint(side.external_name, Service.TENSORBOARD)
    name = name_of(Service.TENSORBOARD, side.public_id)
    if endpoint is not None:
        App.objects.get_or_create(
            side=side,
            name=name,
            defaults={"service": Service.TENSORBOARD, "endpoint": asdict(endpoint)},
        )


def _fail(side: Side, words: str) -> None:
    with transaction.atomic():
        end_side(side, words)


def _spec(side: Side) -> LaunchSpec:
    """What its sandbox is told. Raises LaunchRefused where there is nothing to show."""
    engine, folders = _folders(side)
    if not folders:
        raise LaunchRefused("There is nothing to show: no files of it can be seen from here.")
    shown = f"{LOGS}/{side.folder}" if side.folder else LOGS
    return LaunchSpec(
        external_name=side.external_name,
        run_id=side.public_id,
        attempt_number=1,
        team_number=side.team_id,
        gpus=0,
        gpu_uuids=(),
        environment=settings.BOARD_ENVIRONMENT,
        command=f"exec python -m fastgpu.lab.board {shlex.quote(shown)}",
        time_limit_seconds=int(LONGEST.total_seconds()),
        grace_seconds=GRACE_SECONDS,
        network=False,
        limits=LIMITS,
        serves=True,
        reads=tuple(
            ReadFolder(str(path), f"{LOGS}/{name}" if name else LOGS)
            for name, path in folders.items()
        ),
        runs_as=_reader(side, engine),
    )


def _folders(side: Side) -> tuple[object, Mapping[str, Path]]:
    """The engine that keeps them, and name below LOGS -> folder.

    Of a run it is what its latest attempt that began has written.
    """
    if side.volume is not None:
        store = _engine(side.volume.backend)
        if not isinstance(store, Volumes):
            return store, {}
        path = store.volume_path(side.volume.public_id)
        # It lies in a folder that only the portal can write: there is no link but the operator's.
        return store, {"": path.parent.resolve() / path.name}
    attempts = Attempt.objects.filter(workload=side.workload, started_at__isnull=False)
    attempt = attempts.select_related("pool").order_by("-number").first()
    engine = _engine(attempt.pool.backend) if attempt else None
    if attempt is not None and isinstance(engine, Folders):
        return engine, engine.folders_of(attempt.external_name)
    return engine, {}


def _reader(side: Side, engine: object) -> int | None:
    """The uid that may read what the engine keeps of the team, where it has users of its own."""
    owner = engine.volume_owner(side.team_id) if isinstance(engine, Volumes) else None
    return owner[0] if owner else None


def _engine(name: str) -> object:
    """The engine of this name; None where the settings hold none any more."""
    return backend(name) if name in settings.BACKENDS else None


def _end_sandboxes() -> None:
    recent = clock.now() - FORGET_AFTER
    engine = backend(ENGINE)
    for side in Side.objects.filter(ended_at__gt=recent):
        try:
            engine.stop(side.external_name, grace_seconds=GRACE_SECONDS)
        except BackendUnavailable as error:
            logger.warning("%s could not be ended: %s", side.external_name, error)
