"""Making a server that stands by the attempt of a spec that wants just such a one."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from clusters.backends.base import LaunchSpec
from clusters.backends.local import (
    attempts,
    cgroups,
    plan,
    runtimes,
    sandbox,
    shown,
    starter,
    watch,
)
from clusters.backends.local.gpus import Gpu
from clusters.backends.local.probe import Capability
from clusters.backends.local.settings import LocalSettings
from clusters.backends.local.stamps import build_stamp

FOLDER = "standby"


def ready(folder: Path) -> dict[str, Any] | None:
    """What stands by in `folder`, as in spec.json, if its server answers; else None."""
    try:
        state, spec = attempts.read_state(folder), attempts.read_spec(folder)
        if state is None or spec is None or "ready_at" not in state or "ended_at" in state:
            return None
        return None if attempts.supervisor_is_gone(folder) else spec
    except FileNotFoundError:
        # Claimed by somebody else in this moment, or on its way out.
        return None


def could_be_claimed(spec: LaunchSpec) -> bool:
    """Whether a server that stands by can become an attempt of this spec at all."""
    return spec.serves and not spec.network and not spec.reads


def claim(
    spec: LaunchSpec,
    settings: LocalSettings,
    capability: Capability,
    find_gpus: Callable[[], Sequence[Gpu]],
) -> bool:
    """Whether something that stood by is that attempt now.

    Then it has begun, or is about to, or starts as if nothing had stood by. Raises LaunchRefused
    and OSError, as plan.prepare does.
    """
    target = settings.root / "attempts" / spec.external_name
    wanted = {
        "environment": spec.environment,
        "command": spec.command,
        "stamp": build_stamp(settings.environments, spec.environment),
    }
    for folder in sorted((settings.root / FOLDER).glob("[!.]*")):
        found = ready(folder)
        if found is None or not wanted.items() <= found["standby"].items():
            continue
        document = _document(spec, settings, target, found, capability, find_gpus())
        paper = folder / f"claim-{spec.external_name}.json"
        try:
            watch.replace_file(str(paper), json.dumps(document).encode(), durable=False)
            folder.rename(target)
        except FileNotFoundError:
            # Somebody else was faster: with the server,
            continue
        except OSError:
            # or with the attempt.
            paper.unlink(missing_ok=True)
            return False
        starter.wake(target)
        _wait_until_it_runs(target)
        return True
    return False


def _document(
    spec: LaunchSpec,
    settings: LocalSettings,
    folder: Path,
    found: dict[str, Any],
    capability: Capability,
    gpus: Sequence[Gpu],
) -> dict[str, Any]:
    """What the supervisor needs to know, also to start the attempt without what stood by."""
    place, ground = plan.survey(spec, settings, folder, capability, gpus, found["token"])
    groups = found["cgroups"]
    nodes = runtimes.device_nodes(ground.chosen)
    return {
        "plan": plan.compose(spec, settings, place, ground, groups),
        "inside": plan.inside_files(spec, place, ground, groups),
        "limits": cgroups.changes(groups, spec.limits, nodes),
        "env": runtimes.sandbox_env(spec, place, ground.environment, shown.inside(place)),
        "devices": [str(node) for node in nodes],
        "tmpfs": sandbox.tmpfs_bytes(spec.limits.memory_bytes),
    }


def _wait_until_it_runs(folder: Path) -> None:
    deadline = time.monotonic() + starter.START_WAIT_SECONDS
    while time.monotonic() < deadline:
        state = attempts.read_state(folder) or {}
        if "started_at" in state or "ended_at" in state:
            return
        time.sleep(0.002)
