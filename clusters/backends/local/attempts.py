"""Attempt folders on disk: what a supervisor wrote, and whether it still lives."""

from __future__ import annotations

import fcntl
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from clusters.backends.base import EndReason, Observation, Phase
from clusters.backends.local import watch
from clusters.backends.local.oci import OciAway, OciError, OciService

REMOVE_SECONDS = 10.0
LOST = "the supervisor of this attempt died without a word (machine restarted or process killed)"


def observe(folder: Path, node: str) -> Observation | None:
    """What is known of the attempt in `folder`; None when it was never started.

    An attempt whose supervisor is gone without an end gets one: NODE_LOST at its last proof
    of life, after whatever it may have left running has been killed. As long as that cannot be
    done, because the engine of its container is away, it stays as it was last seen.
    """
    state = read_state(folder)
    if state is None:
        return None
    if "ended_at" not in state and supervisor_is_gone(folder):
        state = _declare_lost(folder)
    return _observation(folder.name, state, node)


def read_state(folder: Path) -> dict[str, Any] | None:
    """The supervisor's state.json, whole by construction; None before there is one."""
    try:
        with (folder / "state.json").open("rb") as file:
            state: dict[str, Any] = json.load(file)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return state


def read_spec(folder: Path) -> dict[str, Any] | None:
    """The attempt's spec.json (see plan.compose); None before the attempt is prepared."""
    try:
        spec: dict[str, Any] = json.loads((folder / "spec.json").read_bytes())
    except FileNotFoundError:
        return None
    return spec


def folders_of(folder: Path) -> dict[str, Path]:
    """`home`, `checkpoints` and `workspace` of the attempt, as far as there."""
    spec = read_spec(folder)
    if spec is None:
        return {}
    named = {"checkpoints": spec["checkpoints"], "workspace": spec["volume"]}
    found = {name: Path(path) for name, path in named.items() if path}
    return {n: path for n, path in ({"home": folder / "home"} | found).items() if path.is_dir()}


def supervisor_is_gone(folder: Path) -> bool:
    """Whether nobody holds the lock; only asked once state.json exists, so nobody will again."""
    fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(fd)
    return True


def _declare_lost(folder: Path) -> dict[str, Any]:
    # Read again: the supervisor may have written its end just before it let go of the lock.
    state = read_state(folder) or {}
    if "ended_at" in state:
        return state
    spec = json.loads((folder / "spec.json").read_bytes())
    if not kill_what_is_left(folder, spec):
        return state
    proofs = [_modified(folder / name) for name in ("heartbeat", "log", "state.json")]
    ended = max(*proofs, state.get("started_at", 0.0))
    state.update(ended_at=ended, exit_code=None, reason=str(EndReason.NODE_LOST), detail=LOST)
    (folder / "placement.json").unlink(missing_ok=True)
    watch.replace_file(str(folder / "state.json"), json.dumps(state).encode(), durable=True)
    watch.remove_cgroups(spec["cgroups"])
    return state


def kill_what_is_left(folder: Path, spec: dict[str, Any]) -> bool:
    """Whether nothing of the attempt runs any more."""
    if spec["runtime"] != "oci":
        watch.empty_cgroups(spec["cgroups"])
        return True
    try:
        placement = json.loads((folder / "placement.json").read_bytes())
    except FileNotFoundError:
        placement = {"cgroups": {}}
    watch.empty_cgroups(placement["cgroups"])
    try:
        engine = OciService(spec["oci_socket"], timeout=REMOVE_SECONDS)
        engine.remove(spec["external_name"], spec["oci_body"]["Labels"])
    except (OciAway, OciError):
        return False
    return True


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _observation(name: str, state: dict[str, Any], node: str) -> Observation:
    started = _time(state.get("started_at"))
    ended = _time(state.get("ended_at"))
    phase = Phase.ENDED if ended else Phase.RUNNING if started else Phase.PENDING
    reason = state.get("reason")
    return Observation(
        external_name=name,
        phase=phase,
        started_at=started,
        ended_at=ended,
        exit_code=state.get("exit_code"),
        reason=EndReason(reason) if reason else None,
        detail=state.get("detail", ""),
        node=node,
        is_paused=state.get("paused", False),
    )


def _time(epoch: float | None) -> datetime | None:
    return None if epoch is None else datetime.fromtimestamp(epoch, UTC)
