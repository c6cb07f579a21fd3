"""The system calls of containers: the engine's own profile, made as strict as bubblewrap's here.

docker's default profile lets no container without capabilities make namespaces. podman's does,
and leaves keyrings open, so podman is given its own profile without what seccomp.REFUSED names.
Only podman takes a profile as a file; docker keeps the one that it comes with.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from clusters.backends.local import seccomp

# Where podman looks for it, first one first (containers/common, pkg/seccomp).
PROFILES = (Path("/etc/containers/seccomp.json"), Path("/usr/share/containers/seccomp.json"))
OPEN = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []}
"""What podman does on a machine without a profile."""
ALLOW, REFUSE = "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO"


def write(target: Path, profiles: Sequence[Path] = PROFILES) -> None:
    """Write the profile for podman to `target`."""
    found = next((path for path in profiles if path.exists()), None)
    base = json.loads(found.read_bytes()) if found else OPEN
    target.write_text(json.dumps(strict(base)))


def strict(base: dict[str, Any]) -> dict[str, Any]:
    """The profile `base` (the format of runc and podman) with all of ours refused."""
    refused = [call.name for call in seccomp.REFUSED]
    by_argument = ["clone", "socket"]
    replaced = {*refused, *by_argument, "clone3"}
    kept = [
        rule | {"names": names}
        for rule in base["syscalls"]
        if (names := [name for name in rule["names"] if name not in replaced])
    ]
    ours = [
        _rule(refused, REFUSE) | {"errnoRet": errno.EPERM},
        # As in seccomp.program: the C library falls back to clone.
        _rule(["clone3"], REFUSE) | {"errnoRet": errno.ENOSYS},
        _rule(["clone"], ALLOW, "SCMP_CMP_MASKED_EQ", seccomp.CLONE_NEWUSER),
        # All families but AF_ALG and AF_VSOCK, which have one number between them.
        _rule(["socket"], ALLOW, "SCMP_CMP_LT", seccomp.AF_ALG),
        _rule(["socket"], ALLOW, "SCMP_CMP_EQ", seccomp.AF_ALG + 1),
        _rule(["socket"], ALLOW, "SCMP_CMP_GT", seccomp.AF_VSOCK),
    ]
    if base["defaultAction"] == ALLOW:
        ours[2:] = [
            _rule(["clone"], REFUSE, "SCMP_CMP_MASKED_EQ", seccomp.CLONE_NEWUSER, bits=True),
            _rule(["socket"], REFUSE, "SCMP_CMP_EQ", seccomp.AF_ALG),
            _rule(["socket"], REFUSE, "SCMP_CMP_EQ", seccomp.AF_VSOCK),
        ]
    return base | {"syscalls": kept + ours}


def _rule(
    names: list[str], action: str, compare: str = "", value: int = 0, *, bits: bool = False
) -> dict[str, Any]:
    """A rule on the first argument, if `compare` says how. A mask compares with 0, or itself."""
    if not compare:
        return {"names": names, "action": action, "args": []}
    argument = {"index": 0, "value": value, "valueTwo": value if bits else 0, "op": compare}
    return {"names": names, "action": action, "args": [argument]}
