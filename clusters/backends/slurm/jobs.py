"""What a job asks of Slurm, for sbatch and for slurmrestd alike."""

from __future__ import annotations

import math
import pwd
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clusters.backends.base import LaunchRefused, LaunchSpec, PoolOption

MIB = 1 << 20
OVERHEAD_BYTES = 48 * MIB
"""Two shells and a small Python of ours, besides the command's own memory."""
FENCE_SECONDS = 60
"""Slurm's limit lies this far behind ours and its grace, rounded up to a minute."""

WORD = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}"
CONSTRAINT = r"[A-Za-z0-9][A-Za-z0-9_.&|\[\]()*-]{0,127}"

POOL_OPTIONS = (
    PoolOption("partition", "Partition", "Empty: the cluster's default.", rf"({WORD})?"),
    PoolOption(
        "gpu_type",
        "GPU type",
        "The type in gres.conf, such as a100. Empty: any GPU of the partition.",
        rf"({WORD})?",
    ),
    PoolOption("account", "Account", "Empty: the default account of each user.", rf"({WORD})?"),
    PoolOption("qos", "QOS", "Empty: the default of the account.", rf"({WORD})?"),
    PoolOption(
        "constraint",
        "Constraint",
        "Node features a job needs, as for sbatch --constraint.",
        rf"({CONSTRAINT})?",
    ),
)


def checked(options: Mapping[str, str]) -> dict[str, str]:
    """The pool's options that are set. Raises LaunchRefused for one that cannot be."""
    found = {}
    for option in POOL_OPTIONS:
        value = options.get(option.name, "")
        if not re.fullmatch(option.pattern, value):
            raise LaunchRefused(f"The pool's option {option.name} cannot be {value!r}.")
        if value:
            found[option.name] = value
    return found


def minutes(spec: LaunchSpec) -> int:
    """Slurm's own time limit, the outer fence."""
    return math.ceil((spec.time_limit_seconds + spec.grace_seconds + FENCE_SECONDS) / 60)


def memory_mb(spec: LaunchSpec) -> int:
    """Memory for each node."""
    return math.ceil((spec.limits.memory_bytes + OVERHEAD_BYTES) / MIB)


def cpus(spec: LaunchSpec) -> int:
    """CPUs for each node."""
    return max(1, math.ceil(spec.limits.cpu_cores))


def gres(spec: LaunchSpec, options: Mapping[str, str]) -> str:
    """GPUs for each node; "" for none."""
    if not spec.gpus:
        return ""
    kind = f":{options['gpu_type']}" if "gpu_type" in options else ""
    return f"gpu{kind}:{spec.gpus // spec.nodes}"


def sbatch(
    spec: LaunchSpec, user: pwd.struct_passwd, folder: Path, *, as_root: bool, array: str = ""
) -> list[str]:
    """The options of sbatch; the script comes on standard input."""
    options = checked(spec.options)
    wanted = gres(spec, options)
    argv = [
        "sbatch", "--parsable", f"--job-name={spec.external_name}", "--requeue",
        f"--nodes={spec.nodes}", "--ntasks-per-node=1", f"--cpus-per-task={cpus(spec)}",
        f"--mem={memory_mb(spec)}M", f"--time={minutes(spec)}", "--export=ALL",
        f"--chdir={folder}", "--input=/dev/null", "--output=/dev/null", "--error=/dev/null",
    ]  # fmt: skip
    if as_root:
        argv += [f"--uid={user.pw_uid}", f"--gid={user.pw_gid}"]
    if wanted:
        argv.append(f"--gres={wanted}")
    # A second job of this name would wait for the first, and then find that it has run.
    argv.append(f"--array={array}" if array else "--dependency=singleton")
    names = ("partition", "account", "qos", "constraint")
    return argv + [f"--{name}={options[name]}" for name in names if name in options]


def rest(spec: LaunchSpec, folder: Path, path: str) -> dict[str, Any]:
    """The same for slurmrestd."""
    options = checked(spec.options)
    job: dict[str, Any] = {
        "name": spec.external_name,
        "requeue": True,
        "nodes": [spec.nodes, spec.nodes],
        "tasks": spec.nodes,
        "tasks_per_node": 1,
        "cpus_per_task": cpus(spec),
        "memory_per_node": memory_mb(spec),
        "time_limit": minutes(spec),
        "dependency": "singleton",
        "current_working_directory": str(folder),
        "standard_input": "/dev/null",
        "standard_output": "/dev/null",
        "standard_error": "/dev/null",
        "environment": environment(folder, path),
    }
    wanted = gres(spec, options)
    if wanted:
        job["gres"] = wanted
    names = {"partition": "partition", "account": "account", "qos": "qos"}
    names["constraint"] = "constraints"
    return job | {names[key]: value for key, value in options.items() if key in names}


def environment(folder: Path, path: str) -> dict[str, str]:
    """All that the batch script is given; the command's own environment lies in a file."""
    return {"FASTGPU_FOLDER": str(folder), "PATH": path}
