"""From a launch spec to what the supervisor executes: the folder, the files and spec.json."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
from pathlib import Path
from typing import Any

from clusters.backends.base import LaunchRefused, LaunchSpec
from clusters.backends.local import (
    cgroups,
    checkpoints,
    container_plan,
    container_seccomp,
    environ,
    environments,
    images,
    sandbox,
    seccomp,
    watch,
)
from clusters.backends.local.environments import Environment
from clusters.backends.local.gpus import SHARED_DEVICES, Gpu
from clusters.backends.local.probe import Capability
from clusters.backends.local.settings import LocalSettings

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}")
MAX_ENV_BYTES = 1 << 20
MAX_ENV_VALUE_BYTES = 120_000
SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"


def validate(spec: LaunchSpec) -> None:
    """Raises LaunchRefused for what no sandbox could ever run."""
    if not NAME.fullmatch(spec.external_name):
        raise LaunchRefused(f"{spec.external_name!r} cannot name an attempt.")
    if not spec.command.strip() or "\0" in spec.command:
        raise LaunchRefused("The command is empty or holds a NUL byte.")
    if spec.nodes > 1:
        raise LaunchRefused("This pool is one machine: it runs nothing on several nodes.")
    if spec.team_number <= 0:
        raise LaunchRefused("The team's number must be positive.")
    total = 0
    for key, value in spec.env.items():
        if not key or "=" in key or "\0" in key + value:
            raise LaunchRefused(f"{key!r} cannot be an environment variable.")
        if len(value.encode()) > MAX_ENV_VALUE_BYTES:
            raise LaunchRefused(f"The value of {key} is longer than {MAX_ENV_VALUE_BYTES} bytes.")
        total += len(key.encode()) + len(value.encode())
    if total > MAX_ENV_BYTES:
        raise LaunchRefused("The environment variables are larger than 1 MiB together.")


def prepare(
    spec: LaunchSpec, settings: LocalSettings, folder: Path, capability: Capability, gpus: list[Gpu]
) -> None:
    """Fill the attempt's folder; may be repeated after a crash, with the same result.

    Raises LaunchRefused for an unknown environment, image or GPU, OSError when the disk says no,
    oci.OciAway when the environment is an image and its engine does not answer.
    """
    environment = environments.resolve(settings.environments, spec.environment)
    chosen = _chosen(spec, gpus)
    image = images.find(settings, environment.image) if environment.image else None
    # Without a sandbox the team's uid could not even reach its home below a 0700 folder.
    separate = os.geteuid() == 0 and (capability.bwrap is not None or image is not None)
    uid = settings.uid_base + spec.team_number if separate else None
    tag = hashlib.sha256(str(settings.root.resolve()).encode()).hexdigest()[:8]
    kept = checkpoints.make(settings.root, spec, uid)
    nodes = _nodes(chosen)
    # A container's cgroups are its engine's to make.
    groups = {} if image else cgroups.create(f"{tag}-{spec.external_name}", spec.limits, nodes)
    if (folder / "spec.json").exists():
        # Written last. A supervisor may be reading all this by now: leave it be.
        return
    sandboxed = capability.bwrap is not None
    if image:
        start = container_plan.start_script(spec.limits.disk_bytes)
    else:
        shown = sandbox.INSIDE if sandboxed else shlex.quote(str(folder / "inside"))
        start = sandbox.start_script(inside=shown, ulimits=_ulimits(spec, groups))
    _write_inside(spec, folder, uid, start)
    _make_home(folder / "home", uid)
    if image and uid is not None:
        profile = folder / "seccomp.json" if image.is_podmans else None
        if profile:
            container_seccomp.write(profile)
        place = container_plan.Place(folder, kept, uid, tag, profile)
        how = _container(spec, settings, place, image.id, chosen)
    else:
        how = _command(spec, folder, kept, environment, capability, nodes)
    plan = how | {
        "external_name": spec.external_name,
        "gpu_uuids": list(spec.gpu_uuids),
        "uid": uid,
        "cgroups": groups,
        "checkpoints": str(kept),
        "time_limit_seconds": spec.time_limit_seconds,
        "grace_seconds": spec.grace_seconds,
        "memory_bytes": spec.limits.memory_bytes,
        "disk_bytes": spec.limits.disk_bytes,
        "log_bytes": spec.limits.log_bytes,
    }
    watch.replace_file(str(folder / "spec.json"), json.dumps(plan).encode(), durable=False)


def _make_home(home: Path, uid: int | None) -> None:
    home.mkdir(mode=0o700, exist_ok=True)
    # Where the checkpoints are mounted. It stays empty and the portal's: nothing of the
    # attempt's can take its place.
    (home / checkpoints.FOLDER).mkdir(mode=0o755, exist_ok=True)
    if uid is not None:
        os.chown(home, uid, uid)


def _chosen(spec: LaunchSpec, gpus: list[Gpu]) -> list[Gpu]:
    by_uuid = {gpu.description.uuid: gpu for gpu in gpus}
    missing = [uuid for uuid in spec.gpu_uuids if uuid not in by_uuid]
    if missing:
        raise LaunchRefused(f"This machine has no GPU {missing[0]}.")
    return [by_uuid[uuid] for uuid in spec.gpu_uuids]


def _nodes(chosen: list[Gpu]) -> list[Path]:
    """Device nodes that give access to these GPUs and no other."""
    devices = [gpu.device for gpu in chosen if gpu.device]
    return [*devices, *map(Path, SHARED_DEVICES)] if devices else []


def _container(
    spec: LaunchSpec,
    settings: LocalSettings,
    place: container_plan.Place,
    image: str,
    chosen: list[Gpu],
) -> dict[str, Any]:
    """What to ask the Docker API for. PATH stays the image's own."""
    env = environ.variables(spec, base={}, home=sandbox.HOME, checkpoints=sandbox.CHECKPOINTS)
    return {
        "runtime": "oci",
        "sandboxed": True,
        "oci_socket": settings.oci_socket,
        "oci_body": container_plan.body(spec, place, image, env, chosen),
    }


def _command(
    spec: LaunchSpec,
    folder: Path,
    kept: Path,
    environment: Environment,
    capability: Capability,
    nodes: list[Path],
) -> dict[str, Any]:
    """argv and bwrap's options, or a bare shell where the operator allowed that."""
    bare_env = {"PATH": SYSTEM_PATH, "LANG": "C.UTF-8"}
    how: dict[str, Any] = {"runtime": "bubblewrap", "sandboxed": True, "seccomp": ""}
    if capability.bwrap is None:
        prefix = environment.binds[0][0] if environment.prefix else None
        env = environ.variables(
            spec, base=_base(prefix), home=str(folder / "home"), checkpoints=str(kept)
        )
        argv = ["/bin/sh", str(folder / "inside" / "start")]
        bare = {"sandboxed": False, "stage": None, "argv": argv, "bwrap_args": [], "exec_env": env}
        return how | bare
    program = seccomp.program()
    view = sandbox.View(
        bwrap=capability.bwrap,
        folder=folder,
        checkpoints=kept,
        binds=environment.binds,
        devices=nodes,
        network=spec.network,
        env=environ.variables(
            spec,
            base=_base(environment.prefix),
            home=sandbox.HOME,
            checkpoints=sandbox.CHECKPOINTS,
        ),
        memory_bytes=spec.limits.memory_bytes,
        disable_userns=capability.disable_userns,
        seccomp=bool(program),
        staged=os.geteuid() == 0,
    )
    return how | {
        "seccomp": program.hex(),
        "stage": sandbox.stage(view),
        "argv": sandbox.argv(view),
        "bwrap_args": sandbox.options(view),
        "exec_env": bare_env,
    }


def _base(prefix: Path | None) -> dict[str, str]:
    if prefix is None:
        return {"PATH": SYSTEM_PATH}
    return {"PATH": f"{prefix}/bin:{SYSTEM_PATH}", "VIRTUAL_ENV": str(prefix)}


def _ulimits(spec: LaunchSpec, groups: dict[str, str]) -> list[str]:
    """rlimits in place of the cgroups that could not be had."""
    out = []
    held = cgroups.enforced(groups)
    if "memory" not in held:
        out.append(f"-v {spec.limits.memory_bytes // 1024}")
    if "pids" not in held and os.geteuid() != 0:
        # In the sandbox's own user namespace this counts its processes only.
        out.append(f"-u {spec.limits.pids}")
    return out


def _write_inside(spec: LaunchSpec, folder: Path, uid: int | None, start: str) -> None:
    inside = folder / "inside"
    inside.mkdir(exist_ok=True)
    inside.chmod(0o755)
    contents = sandbox.identity_files(os.getuid() if uid is None else uid) | {
        "start": start,
        "command": spec.command,
    }
    for name, text in contents.items():
        path = inside / name
        path.write_text(text, encoding="utf-8", newline="")
        path.chmod(0o644)
