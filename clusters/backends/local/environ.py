"""The environment variables an attempt finds set."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

from clusters.backends.base import LaunchSpec
from clusters.backends.local.shown import SOCKETS, Paths

OURS = re.compile(r"FASTGPU_.*|CUDA_VISIBLE_DEVICES|NVIDIA_.*")
# Where torchrun meets itself. With the host's network, runs side by side must not share one.
FIRST_PORT, PORTS = 20_000, 10_000
PYTHONPATH = "PYTHONPATH"


def variables(
    spec: LaunchSpec, *, base: Mapping[str, str], paths: Paths, token: str
) -> dict[str, str]:
    """`base`, then ours, then the user's values, which win except over who it is and its GPUs.

    The SDK is found after what the user's PYTHONPATH names, where `base` has it.
    """
    port = str(
        FIRST_PORT + int(hashlib.sha256(spec.external_name.encode()).hexdigest(), 16) % PORTS
    )
    per_node = str(max(1, spec.gpus))
    env = dict(base) | {
        "HOME": paths.home,
        "USER": "run",
        "LOGNAME": "run",
        "SHELL": "/bin/bash",
        "LANG": "C.UTF-8",
        "TERM": "xterm-256color",
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": str(max(1, int(spec.limits.cpu_cores))),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
        "NNODES": "1",
        "NODE_RANK": "0",
        "PET_MASTER_ADDR": "127.0.0.1",
        "PET_MASTER_PORT": port,
        "PET_NNODES": "1",
        "PET_NODE_RANK": "0",
        "PET_NPROC_PER_NODE": per_node,
    }
    users = {key: value for key, value in spec.env.items() if not OURS.fullmatch(key)}
    if users.get(PYTHONPATH) and PYTHONPATH in base:
        users[PYTHONPATH] = f"{users[PYTHONPATH]}:{base[PYTHONPATH]}"
    return env | users | _ours(spec, paths, token)


def _ours(spec: LaunchSpec, paths: Paths, token: str) -> dict[str, str]:
    uuids = ",".join(spec.gpu_uuids)
    env = {
        "FASTGPU_RUN_ID": spec.run_id,
        "FASTGPU_ATTEMPT": str(spec.attempt_number),
        "FASTGPU_CHECKPOINT_DIR": paths.checkpoints,
        "FASTGPU_GPU_UUIDS": uuids,
        "FASTGPU_GPU_COUNT": str(len(spec.gpu_uuids)),
        "CUDA_VISIBLE_DEVICES": uuids,
    }
    if paths.workspace:
        env["FASTGPU_WORKSPACE"] = paths.workspace
    if spec.serves:
        env["FASTGPU_SERVE_SOCKET"] = f"{paths.serve}/{SOCKETS['lab']}"
        env["FASTGPU_SERVE_TOKEN"] = token
    return env
