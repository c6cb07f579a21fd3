"""What a job is made of: the constant batch script and the files it reads."""

from __future__ import annotations

import hashlib
import os
import pwd
import re
from dataclasses import dataclass
from pathlib import Path

from clusters.backends.base import EndReason, LaunchRefused, LaunchSpec
from clusters.backends.slurm import sdk
from clusters.backends.slurm.folders import PORT_FILE, SharedFolder, write_file

HERE = Path(__file__).parent
BATCH = (HERE / "attempt.sh").read_bytes()
KEEPER = (HERE / "keeper.py").read_bytes()
HASH = hashlib.sha256(BATCH + KEEPER).hexdigest()[:12]

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
RUN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,79}")
SLUG = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
OURS = re.compile(
    r"FASTGPU_.*|PET_.*|MASTER_ADDR|MASTER_PORT|NNODES|NODE_RANK|SLURM_.*|SLURMD_.*|HOME|"
    r"CUDA_VISIBLE_DEVICES|ROCR_VISIBLE_DEVICES|GPU_DEVICE_ORDINAL|NVIDIA_.*"
)
PYTHONPATH = "PYTHONPATH"
SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"
MAX_COMMAND_BYTES = 4 << 20
MAX_ENV_BYTES = 1 << 20
MAX_ENV_VALUE_BYTES = 120_000
"""Linux takes 128 KiB for one string of an environment."""


@dataclass(frozen=True, slots=True)
class Ground:
    """What an attempt stands on: who it runs as, its environment and volume, where tools are.

    `token` is what its server demands, "" for what serves nothing.
    """

    user: pwd.struct_passwd
    prefix: Path | None
    workspace: Path | None
    path: str
    token: str = ""


@dataclass(frozen=True, slots=True)
class Prepared:
    """Where an attempt's files are, for whoever submits it."""

    folder: Path
    keeper: Path
    script: Path
    sdk: Path


def validate(spec: LaunchSpec) -> None:
    """Raises LaunchRefused for what no cluster could ever run."""
    if not NAME.fullmatch(spec.external_name) or not RUN.fullmatch(spec.run_id):
        raise LaunchRefused(f"{spec.external_name!r} of {spec.run_id!r} cannot name an attempt.")
    if not spec.command.strip() or "\0" in spec.command:
        raise LaunchRefused("The command is empty or holds a NUL byte.")
    if len(spec.command.encode()) > MAX_COMMAND_BYTES:
        raise LaunchRefused(f"The command is longer than {MAX_COMMAND_BYTES} bytes.")
    if spec.team_number <= 0 or spec.nodes <= 0 or spec.gpus % spec.nodes:
        raise LaunchRefused("The GPUs cannot be shared equally by the nodes.")
    if spec.serves and spec.nodes > 1:
        raise LaunchRefused("What serves pages runs on one node.")
    total = 0
    for key, value in spec.env.items():
        if not key or "=" in key or "\0" in key + value:
            raise LaunchRefused(f"{key!r} cannot be an environment variable.")
        if len(value.encode()) > MAX_ENV_VALUE_BYTES:
            raise LaunchRefused(f"The value of {key} is longer than {MAX_ENV_VALUE_BYTES} bytes.")
        total += len(key.encode()) + len(value.encode())
    if total > MAX_ENV_BYTES:
        raise LaunchRefused("The environment variables are larger than 1 MiB together.")


def names_of(environments: Path | None) -> tuple[str, ...] | None:
    """The slugs that `prefix_of` takes; None where this machine does not see their folder."""
    if environments is None:
        return ("system",)
    try:
        folders = [path.name for path in environments.iterdir() if path.is_dir()]
    except OSError:
        return None
    return ("system", *sorted(slug for slug in folders if SLUG.fullmatch(slug)))


def prefix_of(environments: Path | None, slug: str) -> Path | None:
    """The folder of an environment; None for the bare system. Raises LaunchRefused."""
    if slug in ("", "system"):
        return None
    if environments is None or not SLUG.fullmatch(slug) or not (environments / slug).is_dir():
        raise LaunchRefused(f"There is no environment {slug!r}.", reason=EndReason.IMAGE_MISSING)
    # The name leads to another folder after the next build; this one stays for what runs in it.
    return (environments / slug).resolve()


def prepare(spec: LaunchSpec, folders: SharedFolder, ground: Ground) -> Prepared:
    """Fill the attempt's folder; may be repeated with the same result. Raises OSError."""
    folder, user = folders.attempt(spec.external_name), ground.user
    inside = folder / "in"
    inside.mkdir(mode=0o711, exist_ok=True)
    inside.chmod(0o711)
    made = Prepared(
        folder,
        folders.install(KEEPER, f"{HASH}.py"),
        folders.install(BATCH, f"{HASH}.sh"),
        sdk.install(folders),
    )
    checkpoints = folders.checkpoints(spec.team_number, spec.run_id)
    folders.give(checkpoints, user.pw_uid, user.pw_gid)
    folders.give(folder / "starts", user.pw_uid, user.pw_gid)
    env = environment(spec, ground, made, checkpoints)
    private = {
        "command": spec.command.encode() + b"\n",
        "env": b"".join(f"{key}={value}\0".encode() for key, value in env.items()),
    }
    for name, content in private.items():
        write_file(inside / name, content, mode=0o400)
        if os.geteuid() == 0:
            os.chown(inside / name, user.pw_uid, user.pw_gid)
    write_plan(folder, plan(spec, made, ground, checkpoints))
    return made


def plan(spec: LaunchSpec, made: Prepared, ground: Ground, checkpoints: Path) -> dict[str, str]:
    """What the wrapper and the portal need to know of it; nothing secret."""
    return {
        "attempt": str(spec.attempt_number),
        "limit": str(spec.time_limit_seconds),
        "grace": str(spec.grace_seconds),
        "ceiling": str(spec.limits.log_bytes),
        "nodes": str(spec.nodes),
        "processes": str(max(1, spec.gpus // spec.nodes)),
        "pids": str(spec.limits.pids),
        "keeper": str(made.keeper),
        "script": str(made.script),
        "path": ground.path,
        "workspace": str(ground.workspace or ""),
        "checkpoints": str(checkpoints),
        "serve": PORT_FILE if spec.serves else "",
    }


def write_plan(folder: Path, values: dict[str, str]) -> None:
    """`key=value` lines, for the wrapper's `read`."""
    if any("\n" in value for value in values.values()):
        raise LaunchRefused("A path of the cluster's shared folder holds a line break.")
    text = "".join(f"{key}={value}\n" for key, value in values.items())
    write_file(folder / "in" / "plan", text.encode(), mode=0o644)


def read_plan(folder: Path) -> dict[str, str]:
    """What write_plan wrote."""
    lines = (folder / "in" / "plan").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines)


def environment(
    spec: LaunchSpec, ground: Ground, made: Prepared, checkpoints: Path
) -> dict[str, str]:
    """What the command finds set, besides what Slurm and the wrapper set on the node.

    The user's values win except over who it is, where it is and its GPUs. The SDK is found after
    what the user's PYTHONPATH names.
    """
    user, prefix = ground.user, ground.prefix
    env = {
        "PATH": f"{prefix}/bin:{SYSTEM_PATH}" if prefix else SYSTEM_PATH,
        "USER": user.pw_name,
        "LOGNAME": user.pw_name,
        "SHELL": "/bin/bash",
        "LANG": "C.UTF-8",
        "TERM": "xterm-256color",
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": str(max(1, int(spec.limits.cpu_cores))),
    }
    if prefix:
        env["VIRTUAL_ENV"] = str(prefix)
    env |= {key: value for key, value in spec.env.items() if not OURS.fullmatch(key)}
    env[PYTHONPATH] = ":".join(filter(None, (env.get(PYTHONPATH), str(made.sdk))))
    if ground.workspace:
        env["FASTGPU_WORKSPACE"] = str(ground.workspace)
    if ground.token:
        env["FASTGPU_SERVE_TOKEN"] = ground.token
    return env | {
        "FASTGPU_RUN_ID": spec.run_id,
        "FASTGPU_GPU_COUNT": str(spec.gpus // spec.nodes),
        "FASTGPU_CHECKPOINT_DIR": str(checkpoints),
    }
