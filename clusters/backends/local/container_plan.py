"""From a launch spec to the body of the Docker API's create call, and the script inside."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clusters.backends.base import LaunchSpec
from clusters.backends.local.gpus import Gpu
from clusters.backends.local.sandbox import hostname_of
from clusters.backends.local.shown import INSIDE, SDK, Mount, Place
from clusters.backends.local.tools import Tools, door_script

SYNTHESIZED = ("passwd", "group")
LABEL_NAME, LABEL_ROOT = "fastgpu.attempt", "fastgpu.root"
FSIZE_UNIT = 1024
"""bash's `ulimit -f` counts in these bytes."""
GOES_FIRST = "echo 500 > /proc/self/oom_score_adj; "
"""Said by all that the first process starts: it must outlive them when memory runs out."""


@dataclass(frozen=True, slots=True)
class View:
    """What a container is given. `start` is the folder it begins in.

    `seccomp` None: the engine's own profile.
    """

    place: Place
    mounts: Sequence[Mount]
    start: str
    env: Mapping[str, str]
    chosen: Sequence[Gpu] = ()
    seccomp: Path | None = None


def body(spec: LaunchSpec, view: View, image: str) -> dict[str, Any]:
    """What POST /containers/create takes."""
    limits, place = spec.limits, view.place
    inside = place.folder / "inside"
    binds = [f"{m.source}:{m.target}:{'rw' if m.is_writable else 'ro'}" for m in view.mounts]
    binds += [f"{inside / name}:/etc/{name}:ro" for name in SYNTHESIZED]
    real = [gpu.description.uuid for gpu in view.chosen if not gpu.description.is_virtual]
    security = ["no-new-privileges"]
    if view.seccomp:
        security.append(f"seccomp={view.seccomp}")
    host: dict[str, Any] = {
        "Binds": binds,
        "Tmpfs": {"/tmp": f"rw,nosuid,nodev,mode=1777,size={limits.memory_bytes // 4}"},  # noqa: S108
        "ShmSize": limits.memory_bytes // 2,
        "NetworkMode": "bridge" if spec.network else "none",
        "IpcMode": "private",
        "CgroupnsMode": "private",
        "ReadonlyRootfs": True,
        "Privileged": False,
        "CapDrop": ["ALL"],
        "SecurityOpt": security,
        "PidsLimit": limits.pids,
        "Memory": limits.memory_bytes,
        # Memory and swap together: none of the latter.
        "MemorySwap": limits.memory_bytes,
        "NanoCpus": int(limits.cpu_cores * 1_000_000_000),
        # The supervisor keeps the log, with a ceiling and past the container's end.
        "LogConfig": {"Type": "none", "Config": {}},
        "RestartPolicy": {"Name": "no"},
    }
    # Images often ask for all GPUs by this variable, which NVIDIA's runtime and hook obey.
    visible = {"NVIDIA_VISIBLE_DEVICES": ",".join(real) or "void"}
    if real:
        host["DeviceRequests"] = [
            {"Driver": "nvidia", "DeviceIDs": real, "Capabilities": [["gpu"]]}
        ]
    return {
        "Image": image,
        "Entrypoint": ["/bin/sh", f"{INSIDE}/start"],
        "Cmd": [],
        "Env": [f"{key}={value}" for key, value in {**view.env, **visible}.items()],
        "User": f"{place.uid}:{place.uid}",
        "WorkingDir": view.start,
        "Hostname": hostname_of(spec),
        "Labels": {LABEL_NAME: spec.external_name, LABEL_ROOT: place.tag},
        "NetworkDisabled": not spec.network,
        "AttachStdin": False,
        "AttachStdout": False,
        "AttachStderr": False,
        "Tty": False,
        "HostConfig": host,
    }


def start_script(file_bytes: int | None, tools: Tools | None) -> str:
    """The container's first process: see container.py for what it speaks with the supervisor.

    `file_bytes` is the most that one file may hold; None: any size.
    """
    size = "unlimited" if file_bytes is None else file_bytes // FSIZE_UNIT
    command = f"ulimit -c 0; ulimit -f {size}; {GOES_FIRST}exec /bin/bash {INSIDE}/command"
    return (
        # After what the image itself says of it.
        f'export PYTHONPATH="${{PYTHONPATH:+$PYTHONPATH:}}{SDK}"\n'
        f"exec < /dev/null > {INSIDE}/output 2>&1 3> {INSIDE}/events 4< {INSIDE}/go\n"
        "echo start >&3\n"
        f"{door_script(tools, before=GOES_FIRST, closed='3>&- 4<&-')}"
        f"/bin/bash -c {shlex.quote(command)} 3>&- 4<&-\n"
        "code=$?\n"
        'echo "end $code" >&3\n'
        "read -r go <&4\n"
        'exit "$code"\n'
    )
