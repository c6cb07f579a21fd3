"""How an attempt is run: by bubblewrap, in a container, or bare where the operator allowed it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clusters.backends.base import LaunchRefused, LaunchSpec
from clusters.backends.local import (
    container_plan,
    container_seccomp,
    environ,
    sandbox,
    seccomp,
    shown,
    uids,
)
from clusters.backends.local.environments import Environment
from clusters.backends.local.gpus import SHARED_DEVICES, Gpu
from clusters.backends.local.images import Image
from clusters.backends.local.probe import Capability
from clusters.backends.local.settings import LocalSettings
from clusters.backends.local.shown import Mount, Paths, Place
from clusters.backends.local.tools import Tools

SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"


@dataclass(frozen=True, slots=True)
class Ground:
    """What this machine has for the attempt: found before anything is written."""

    capability: Capability
    environment: Environment
    image: Image | None
    chosen: Sequence[Gpu]
    reads: Sequence[Mount]
    tools: Tools | None

    @property
    def extra(self) -> list[Mount]:
        """What is mounted besides the attempt's own and its environment."""
        return [*(self.tools.mounts if self.tools else ()), *self.reads]


def how(spec: LaunchSpec, settings: LocalSettings, place: Place, ground: Ground) -> dict[str, Any]:
    """The part of spec.json that says what to execute."""
    if ground.image:
        return _container(spec, settings, place, ground, ground.image)
    if ground.capability.bwrap:
        return _sandbox(spec, place, ground, ground.capability.bwrap)
    if ground.reads:
        raise LaunchRefused("Without bubblewrap no folder can be shown read-only.")
    return _bare(spec, place, ground.environment)


def file_bytes(spec: LaunchSpec) -> int | None:
    """The most that one file may hold; with a volume there is no telling."""
    return None if spec.volume else spec.limits.disk_bytes


def device_nodes(chosen: Sequence[Gpu]) -> list[Path]:
    """Device nodes that give access to these GPUs and no other."""
    devices = [gpu.device for gpu in chosen if gpu.device]
    return [*devices, *map(Path, SHARED_DEVICES)] if devices else []


def _container(
    spec: LaunchSpec, settings: LocalSettings, place: Place, ground: Ground, image: Image
) -> dict[str, Any]:
    """What to ask the Docker API for. PATH stays the image's own."""
    profile = place.folder / "seccomp.json" if image.is_podmans else None
    if profile:
        container_seccomp.write(profile)
    # What another engine keeps may lie behind links by then, and a container's engine follows them.
    is_others = spec.runs_as not in (None, uids.team_uid(settings.uid_base, spec.team_number))
    if is_others or any(
        mount.owner is not None or ":" in str(mount.source) for mount in ground.reads
    ):
        raise LaunchRefused("An environment that is an image cannot be shown that folder.")
    paths = shown.inside(place)
    view = container_plan.View(
        place=place,
        mounts=shown.mounts(place, ground.extra),
        start=paths.start,
        env=environ.variables(spec, base={}, paths=paths, token=place.token),
        chosen=ground.chosen,
        seccomp=profile,
    )
    return {
        "runtime": "oci",
        "sandboxed": True,
        "oci_socket": settings.oci_socket,
        "oci_body": container_plan.body(spec, view, image.id),
    }


def sandbox_env(
    spec: LaunchSpec, place: Place, environment: Environment, paths: Paths
) -> dict[str, str]:
    """The environment variables in a sandbox."""
    base = _base(environment.prefix, paths.sdk)
    return environ.variables(spec, base=base, paths=paths, token=place.token)


def _sandbox(spec: LaunchSpec, place: Place, ground: Ground, bwrap: Path) -> dict[str, Any]:
    paths = shown.inside(place)
    fixed = [Mount(host, str(target)) for host, target in ground.environment.binds]
    return in_sandbox(
        sandbox.View(
            bwrap=bwrap,
            mounts=[*fixed, *shown.mounts(place, ground.extra)],
            inside=place.folder / "inside",
            start=paths.start,
            devices=device_nodes(ground.chosen),
            network=spec.network,
            env=sandbox_env(spec, place, ground.environment, paths),
            memory_bytes=spec.limits.memory_bytes,
            disable_userns=ground.capability.disable_userns,
            seccomp=bool(seccomp.program()),
            staged=os.geteuid() == 0,
            hostname=sandbox.hostname_of(spec),
        )
    )


def in_sandbox(view: sandbox.View) -> dict[str, Any]:
    """argv and bwrap's options."""
    return {
        "runtime": "bubblewrap",
        "sandboxed": True,
        "seccomp": seccomp.program().hex(),
        "stage": sandbox.stage(view),
        "start": "home",
        "argv": sandbox.argv(view),
        "bwrap_args": sandbox.options(view),
        "exec_env": {"PATH": SYSTEM_PATH, "LANG": "C.UTF-8"},
    }


def _bare(spec: LaunchSpec, place: Place, environment: Environment) -> dict[str, Any]:
    paths = shown.outside(place)
    base = _base(environment.binds[0][0] if environment.prefix else None, paths.sdk)
    return {
        "runtime": "bubblewrap",
        "sandboxed": False,
        "seccomp": "",
        "stage": None,
        "start": paths.start,
        "argv": ["/bin/sh", str(place.folder / "inside" / "start")],
        "bwrap_args": [],
        "exec_env": environ.variables(spec, base=base, paths=paths, token=place.token),
    }


def _base(prefix: Path | None, sdk: str) -> dict[str, str]:
    base = {"PATH": SYSTEM_PATH, "PYTHONPATH": sdk}
    if prefix is None:
        return base
    return base | {"PATH": f"{prefix}/bin:{SYSTEM_PATH}", "VIRTUAL_ENV": str(prefix)}
