"""What a server that stands by is started from: a sandbox with nobody's things in it."""

from __future__ import annotations

import dataclasses
import json
import os
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clusters.backends.base import LaunchSpec
from clusters.backends.capabilities import StandbyWish
from clusters.backends.local import (
    cgroups,
    environments,
    plan,
    runtimes,
    sandbox,
    seccomp,
    shown,
    tools,
    watch,
)
from clusters.backends.local.confine import STANDBY_FD
from clusters.backends.local.environments import Environment
from clusters.backends.local.probe import Capability
from clusters.backends.local.settings import LocalSettings
from clusters.backends.local.shown import INSIDE, WORKSPACE, Mount, Place

WANTED = "wanted"


class NotHere(Exception):
    """Nothing can stand by here; the message says why."""


@dataclass(frozen=True, slots=True)
class Standpoint:
    """Where one is to stand by, and as whom."""

    folder: Path
    uid: int
    stamp: str


def prepare(
    wish: StandbyWish, settings: LocalSettings, capability: Capability, at: Standpoint
) -> None:
    """Make and fill its folder. Raises NotHere, LaunchRefused, OSError."""
    environment = environments.resolve(settings.environments, wish.environment)
    if environment.image:
        raise NotHere("it is an image")
    tag = plan.root_tag(settings.root)
    groups = cgroups.create(f"{tag}-standby-{at.folder.name}", wish.limits)
    if not {"memory", "pids"} <= cgroups.enforced(groups):
        raise NotHere("no cgroups limit its memory and its processes")
    at.folder.mkdir(mode=0o700)
    (at.folder / WANTED).touch()
    place = Place(at.folder, None, at.uid, tag, token=secrets.token_urlsafe(32))
    found = tools.find(settings.environments, in_container=False)
    door = tools.door_script(found, closed=f"{STANDBY_FD}>&-")
    own = {"start": sandbox.start_script(door=door), "command": wish.command, "token": place.token}
    plan.write_inside(at.folder, sandbox.identity_files(at.uid) | own)
    plan.make_folders(at.folder, at.uid)
    spec = _spec(wish, at.folder.name)
    document = _sandbox(spec, place, environment, capability, found)
    document |= plan.facts(spec, place, groups)
    document |= {"file_bytes": None, "has_door": found is not None}
    document["standby"] = {
        "environment": wish.environment,
        "command": wish.command,
        "stamp": at.stamp,
        "limits": dataclasses.asdict(wish.limits),
        "made_at": time.time(),
    }
    watch.replace_file(str(at.folder / "spec.json"), json.dumps(document).encode(), durable=False)


def _sandbox(
    spec: LaunchSpec,
    place: Place,
    environment: Environment,
    capability: Capability,
    found: tools.Tools | None,
) -> dict[str, Any]:
    """One with an empty workspace and no checkpoints, over which both are mounted later."""
    if capability.bwrap is None:
        raise NotHere(capability.problem)
    paths = dataclasses.replace(shown.inside(place), workspace=WORKSPACE)
    fixed = [Mount(host, str(target)) for host, target in environment.binds]
    env = runtimes.sandbox_env(spec, place, environment, paths)
    env |= {"FASTGPU_STANDBY": str(STANDBY_FD), "FASTGPU_STANDBY_ENVIRON": f"{INSIDE}/environ"}
    return runtimes.in_sandbox(
        sandbox.View(
            bwrap=capability.bwrap,
            mounts=[*fixed, *shown.mounts(place, found.mounts if found else [])],
            inside=place.folder / "inside",
            start=paths.start,
            devices=(),
            network=False,
            env=env,
            memory_bytes=spec.limits.memory_bytes,
            disable_userns=capability.disable_userns,
            seccomp=bool(seccomp.program()),
            staged=os.geteuid() == 0,
            folders=(WORKSPACE,),
        )
    )


def _spec(wish: StandbyWish, name: str) -> LaunchSpec:
    """Nobody's."""
    return LaunchSpec(
        external_name=name,
        run_id=name,
        attempt_number=0,
        team_number=0,
        gpus=0,
        gpu_uuids=(),
        environment=wish.environment,
        command=wish.command,
        time_limit_seconds=0,
        grace_seconds=0,
        network=False,
        limits=wish.limits,
        serves=True,
    )
