"""From a launch spec to what the supervisor executes: the folder, the files and spec.json."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from clusters.backends import volumes
from clusters.backends.base import LaunchRefused, LaunchSpec
from clusters.backends.local import (
    cgroups,
    checkpoints,
    container_plan,
    environments,
    images,
    runtimes,
    sandbox,
    shown,
    tools,
    uids,
    watch,
)
from clusters.backends.local.gpus import Gpu
from clusters.backends.local.probe import Capability
from clusters.backends.local.runtimes import Ground
from clusters.backends.local.settings import LocalSettings
from clusters.backends.local.shown import Place

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}")
MAX_ENV_BYTES = 1 << 20
MAX_ENV_VALUE_BYTES = 120_000


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

    Raises LaunchRefused for an unknown environment, image, volume or GPU, OSError when the disk
    says no, oci.OciAway when the environment is an image and its engine does not answer.
    """
    place, ground = survey(spec, settings, folder, capability, gpus)
    name, nodes = f"{place.tag}-{spec.external_name}", runtimes.device_nodes(ground.chosen)
    # A container's cgroups are its engine's to make.
    groups = {} if ground.image else cgroups.create(name, spec.limits, nodes)
    if (folder / "spec.json").exists():
        # Written last. A supervisor may be reading all this by now: leave it be.
        return
    write_inside(folder, inside_files(spec, place, ground, groups))
    make_folders(folder, place.uid)
    plan = compose(spec, settings, place, ground, groups)
    watch.replace_file(str(folder / "spec.json"), json.dumps(plan).encode(), durable=False)


def survey(
    spec: LaunchSpec,
    settings: LocalSettings,
    folder: Path,
    capability: Capability,
    gpus: Sequence[Gpu],
    token: str = "",
) -> tuple[Place, Ground]:
    """Where the attempt's things lie, and what it stands on. Its checkpoints are made if need be.

    Raises LaunchRefused, OSError, OciAway.
    """
    environment = environments.resolve(settings.environments, spec.environment)
    image = images.find(settings, environment.image) if environment.image else None
    is_confined = image is not None or capability.bwrap is not None
    # Without a sandbox the team's uid could not even reach its home below a 0700 folder.
    uid = _uid(spec, settings) if is_confined and os.geteuid() == 0 else None
    place = Place(
        folder=folder,
        checkpoints=checkpoints.make(settings.root, spec, uid),
        uid=uid,
        tag=root_tag(settings.root),
        token=token or secrets.token_urlsafe(32),
        volume=volumes.folder_for(settings.root, spec.volume, uid, where="this machine"),
    )
    found = tools.find(settings.environments, in_container=image is not None)
    ground = Ground(
        capability,
        environment,
        image,
        chosen=_chosen(spec, gpus),
        reads=shown.reads(spec, settings.root, uid),
        tools=found if is_confined else None,
    )
    return place, ground


def _uid(spec: LaunchSpec, settings: LocalSettings) -> int:
    if spec.runs_as == 0:
        raise LaunchRefused("No work is run as root.")
    return spec.runs_as or uids.team_uid(settings.uid_base, spec.team_number)


def root_tag(root: Path) -> str:
    """A few characters that tell this root's things in the kernel from another's."""
    return hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:8]


def compose(
    spec: LaunchSpec,
    settings: LocalSettings,
    place: Place,
    ground: Ground,
    groups: Mapping[str, str],
) -> dict[str, Any]:
    """What stands in spec.json."""
    how = runtimes.how(spec, settings, place, ground)
    return how | facts(spec, place, groups) | {"has_door": ground.tools is not None}


def facts(spec: LaunchSpec, place: Place, groups: Mapping[str, str]) -> dict[str, Any]:
    """The part of it that does not say how it is run."""
    return {
        "external_name": spec.external_name,
        "gpu_uuids": list(spec.gpu_uuids),
        "uid": place.uid,
        "cgroups": dict(groups),
        "checkpoints": str(place.checkpoints or ""),
        "volume": str(place.volume or ""),
        "serves": spec.serves,
        "token": place.token,
        "time_limit_seconds": spec.time_limit_seconds,
        "grace_seconds": spec.grace_seconds,
        "memory_bytes": spec.limits.memory_bytes,
        "disk_bytes": spec.limits.disk_bytes,
        "file_bytes": runtimes.file_bytes(spec),
        "log_bytes": spec.limits.log_bytes,
    }


def _chosen(spec: LaunchSpec, gpus: Sequence[Gpu]) -> list[Gpu]:
    by_uuid = {gpu.description.uuid: gpu for gpu in gpus}
    missing = [uuid for uuid in spec.gpu_uuids if uuid not in by_uuid]
    if missing:
        raise LaunchRefused(f"This machine has no GPU {missing[0]}.")
    return [by_uuid[uuid] for uuid in spec.gpu_uuids]


def _ulimits(spec: LaunchSpec, groups: Mapping[str, str]) -> list[str]:
    """rlimits in place of the cgroups that could not be had."""
    out = []
    held = cgroups.enforced(groups)
    if "memory" not in held:
        out.append(f"-v {spec.limits.memory_bytes // 1024}")
    if "pids" not in held and os.geteuid() != 0:
        # In the sandbox's own user namespace this counts its processes only.
        out.append(f"-u {spec.limits.pids}")
    return out


def inside_files(
    spec: LaunchSpec, place: Place, ground: Ground, groups: Mapping[str, str]
) -> dict[str, str]:
    """What stands in the folder `inside`, by name."""
    if ground.image:
        start = container_plan.start_script(runtimes.file_bytes(spec), ground.tools)
    elif ground.capability.bwrap:
        door = tools.door_script(ground.tools)
        start = sandbox.start_script(ulimits=_ulimits(spec, groups), door=door)
    else:
        here = shlex.quote(str(place.folder / "inside"))
        start = sandbox.start_script(inside=here, ulimits=_ulimits(spec, groups))
    uid = os.getuid() if place.uid is None else place.uid
    own = {"start": start, "command": spec.command, "token": place.token}
    return sandbox.identity_files(uid, sandbox.hostname_of(spec)) | own


def write_inside(folder: Path, contents: Mapping[str, str]) -> None:
    inside = folder / "inside"
    inside.mkdir(exist_ok=True)
    inside.chmod(0o755)
    for name, text in contents.items():
        path = inside / name
        path.write_text(text, encoding="utf-8", newline="")
        path.chmod(0o644)
    if not (inside / tools.DOOR).exists():
        os.mkfifo(inside / tools.DOOR)
    (inside / tools.DOOR).chmod(0o644)


def make_folders(folder: Path, uid: int | None) -> None:
    """The attempt's own folders, in which it writes."""
    for name in ("home", "serve"):
        (folder / name).mkdir(mode=0o700, exist_ok=True)
        if uid is not None:
            os.chown(folder / name, uid, uid)
    # Where the checkpoints are mounted. It stays empty and the portal's: nothing of the
    # attempt's can take its place.
    (folder / "home" / checkpoints.FOLDER).mkdir(mode=0o755, exist_ok=True)
