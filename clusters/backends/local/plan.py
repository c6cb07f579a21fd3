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
from clusters.backends.local import cgroups, environments, sandbox, watch
from clusters.backends.local.environments import Environment
from clusters.backends.local.gpus import SHARED_DEVICES, Gpu
from clusters.backends.local.probe import Capability
from clusters.backends.local.settings import LocalSettings

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}")
OURS = re.compile(r"FASTGPU_.*|CUDA_VISIBLE_DEVICES|NVIDIA_.*")
MAX_ENV_BYTES = 1 << 20
MAX_ENV_VALUE_BYTES = 120_000
SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"


def validate(spec: LaunchSpec) -> None:
    """Raises LaunchRefused for what no sandbox could ever run."""
    if not NAME.fullmatch(spec.external_name):
        raise LaunchRefused(f"{spec.external_name!r} cannot name an attempt.")
    if not spec.command.strip() or "\0" in spec.command:
        raise LaunchRefused("The command is empty or holds a NUL byte.")
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

    Raises LaunchRefused for an unknown environment or GPU, OSError when the disk says no.
    """
    environment = environments.resolve(settings.environments, spec.environment)
    chosen = _chosen(spec, gpus)
    # Without a sandbox the team's uid could not even reach its home below a 0700 folder.
    separate = os.geteuid() == 0 and capability.bwrap is not None
    uid = settings.uid_base + spec.team_number if separate else None
    tag = hashlib.sha256(str(settings.root.resolve()).encode()).hexdigest()[:8]
    groups = cgroups.create(f"{tag}-{spec.external_name}", spec.limits)
    if (folder / "spec.json").exists():
        # Written last. A supervisor may be reading all this by now: leave it be.
        return
    _write_inside(spec, folder, uid, _ulimits(spec, groups), sandboxed=capability.bwrap is not None)
    home = folder / "home"
    home.mkdir(mode=0o700, exist_ok=True)
    if uid is not None:
        os.chown(home, uid, uid)
    plan = _command(spec, folder, environment, capability, chosen) | {
        "external_name": spec.external_name,
        "gpu_uuids": list(spec.gpu_uuids),
        "uid": uid,
        "cgroups": groups,
        "time_limit_seconds": spec.time_limit_seconds,
        "grace_seconds": spec.grace_seconds,
        "memory_bytes": spec.limits.memory_bytes,
        "disk_bytes": spec.limits.disk_bytes,
        "log_bytes": spec.limits.log_bytes,
    }
    watch.replace_file(str(folder / "spec.json"), json.dumps(plan).encode(), durable=False)


def _chosen(spec: LaunchSpec, gpus: list[Gpu]) -> list[Gpu]:
    by_uuid = {gpu.description.uuid: gpu for gpu in gpus}
    missing = [uuid for uuid in spec.gpu_uuids if uuid not in by_uuid]
    if missing:
        raise LaunchRefused(f"This machine has no GPU {missing[0]}.")
    return [by_uuid[uuid] for uuid in spec.gpu_uuids]


def _command(
    spec: LaunchSpec,
    folder: Path,
    environment: Environment,
    capability: Capability,
    chosen: list[Gpu],
) -> dict[str, Any]:
    """argv and bwrap's options, or a bare shell where the operator allowed that."""
    bare_env = {"PATH": SYSTEM_PATH, "LANG": "C.UTF-8"}
    if capability.bwrap is None:
        prefix = environment.binds[0][0] if environment.prefix else None
        env = _environment(spec, str(folder / "home"), prefix)
        argv = ["/bin/sh", str(folder / "inside" / "start")]
        return {"sandboxed": False, "stage": None, "argv": argv, "bwrap_args": [], "exec_env": env}
    devices = [gpu.device for gpu in chosen if gpu.device]
    view = sandbox.View(
        bwrap=capability.bwrap,
        folder=folder,
        binds=environment.binds,
        devices=[*devices, *(Path(path) for path in SHARED_DEVICES)] if devices else [],
        network=spec.network,
        env=_environment(spec, sandbox.HOME, environment.prefix),
        memory_bytes=spec.limits.memory_bytes,
        disable_userns=capability.disable_userns,
        staged=os.geteuid() == 0,
    )
    return {
        "sandboxed": True,
        "stage": sandbox.stage(view),
        "argv": sandbox.argv(view),
        "bwrap_args": sandbox.options(view),
        "exec_env": bare_env,
    }


def _environment(spec: LaunchSpec, home: str, prefix: Path | None) -> dict[str, str]:
    """What the command finds set. The user's values win except over who it is and its GPUs."""
    uuids = ",".join(spec.gpu_uuids)
    env = {
        "PATH": f"{prefix}/bin:{SYSTEM_PATH}" if prefix else SYSTEM_PATH,
        "HOME": home,
        "USER": "run",
        "LOGNAME": "run",
        "SHELL": "/bin/bash",
        "LANG": "C.UTF-8",
        "TERM": "xterm-256color",
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": str(max(1, int(spec.limits.cpu_cores))),
    }
    if prefix:
        env["VIRTUAL_ENV"] = str(prefix)
    env |= {key: value for key, value in spec.env.items() if not OURS.fullmatch(key)}
    return env | {
        "FASTGPU_RUN_ID": spec.run_id,
        "FASTGPU_ATTEMPT": str(spec.attempt_number),
        "FASTGPU_GPU_UUIDS": uuids,
        "FASTGPU_GPU_COUNT": str(len(spec.gpu_uuids)),
        "CUDA_VISIBLE_DEVICES": uuids,
    }


def _ulimits(spec: LaunchSpec, groups: dict[str, str]) -> list[str]:
    """rlimits in place of the cgroups that could not be had."""
    out = []
    if not {"memory", "unified"} & set(groups):
        out.append(f"-v {spec.limits.memory_bytes // 1024}")
    if not {"pids", "unified"} & set(groups) and os.geteuid() != 0:
        # In the sandbox's own user namespace this counts its processes only.
        out.append(f"-u {spec.limits.pids}")
    return out


def _write_inside(
    spec: LaunchSpec, folder: Path, uid: int | None, ulimits: list[str], *, sandboxed: bool
) -> None:
    inside = folder / "inside"
    inside.mkdir(exist_ok=True)
    inside.chmod(0o755)
    shown = sandbox.INSIDE if sandboxed else shlex.quote(str(inside))
    contents = sandbox.identity_files(os.getuid() if uid is None else uid) | {
        "start": sandbox.start_script(inside=shown, ulimits=ulimits),
        "command": spec.command,
    }
    for name, text in contents.items():
        path = inside / name
        path.write_text(text, encoding="utf-8", newline="")
        path.chmod(0o644)
