"""System calls that no attempt needs, refused by a seccomp filter in bubblewrap.

It is a second fence. The namespaces, the missing capabilities and the team's uid refuse most of
these too; the filter keeps hostile code from even reaching kernel code that has often been the
way out, and covers what namespaces do not (keyrings, performance counters, io_uring). All else
stays allowed, ptrace among it: it reaches nothing but the attempt's own processes, and profilers
need it. Containers get the engine's own profile instead, which is stricter still.

The filter is classic BPF over `struct seccomp_data {int nr; u32 arch; u64 ip; u64 args[6]}`
(linux/seccomp.h), made of `struct sock_filter {u16 code; u8 jt, jf; u32 k}` (linux/filter.h).
"""

from __future__ import annotations

import errno
import platform
import struct
from dataclasses import dataclass
from functools import cache

LOAD, JUMP_EQUAL, JUMP_SET, RETURN = 0x20, 0x15, 0x45, 0x06  # BPF_LD|W|ABS, JMP|JEQ|K, JMP|JSET|K
NUMBER_AT, ARCH_AT, ARGUMENTS_AT = 0, 4, 16
ALLOW, ERRNO = 0x7FFF0000, 0x00050000  # SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO
X32_BIT = 0x40000000
ARCHES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # AUDIT_ARCH_*
CLONE3 = 435
CLONE_NEWUSER = 0x10000000
TIOCSTI, TIOCLINUX = 0x5412, 0x541C
AF_ALG, AF_VSOCK = 38, 40


@dataclass(frozen=True, slots=True)
class Refused:
    """One system call: its numbers (None: that machine has none) and why it is refused."""

    name: str
    x86_64: int | None
    aarch64: int | None
    why: str


KEYS = "the kernel's keyrings are one per uid, across sandboxes"
LOADS = "loads code into the kernel"
MOUNTS = "changes what is mounted"
CLOCKS = "changes the machine's clock"
SPACES = "makes or enters namespaces, where all capabilities are had again"
RINGS = "does I/O past this filter, and has been a way out more than once"

# Numbers: arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h.
REFUSED = (
    Refused("add_key", 248, 217, KEYS),
    Refused("request_key", 249, 218, KEYS),
    Refused("keyctl", 250, 219, KEYS),
    Refused("bpf", 321, 280, LOADS),
    Refused("init_module", 175, 105, LOADS),
    Refused("delete_module", 176, 106, LOADS),
    Refused("finit_module", 313, 273, LOADS),
    Refused("kexec_load", 246, 104, LOADS),
    Refused("kexec_file_load", 320, 294, LOADS),
    Refused("perf_event_open", 298, 241, "measures other processes and the kernel"),
    Refused("userfaultfd", 323, 282, "lets races in the kernel be won at leisure"),
    Refused("io_uring_setup", 425, 425, RINGS),
    Refused("io_uring_enter", 426, 426, RINGS),
    Refused("io_uring_register", 427, 427, RINGS),
    Refused("mount", 165, 40, MOUNTS),
    Refused("umount2", 166, 39, MOUNTS),
    Refused("pivot_root", 155, 41, MOUNTS),
    Refused("open_tree", 428, 428, MOUNTS),
    Refused("move_mount", 429, 429, MOUNTS),
    Refused("fsopen", 430, 430, MOUNTS),
    Refused("fsconfig", 431, 431, MOUNTS),
    Refused("fsmount", 432, 432, MOUNTS),
    Refused("fspick", 433, 433, MOUNTS),
    Refused("mount_setattr", 442, 442, MOUNTS),
    Refused("unshare", 272, 97, SPACES),
    Refused("setns", 308, 268, SPACES),
    Refused("swapon", 167, 224, "changes the machine's swap"),
    Refused("swapoff", 168, 225, "changes the machine's swap"),
    Refused("reboot", 169, 142, "stops the machine"),
    Refused("syslog", 103, 116, "reads the kernel's log, which holds addresses"),
    Refused("acct", 163, 89, "writes a file for every process that ends"),
    Refused("quotactl", 179, 60, "changes disk quotas"),
    Refused("settimeofday", 164, 170, CLOCKS),
    Refused("clock_settime", 227, 112, CLOCKS),
    Refused("clock_adjtime", 305, 266, CLOCKS),
    Refused("iopl", 172, None, "reaches the machine's I/O ports"),
    Refused("ioperm", 173, None, "reaches the machine's I/O ports"),
    Refused("open_by_handle_at", 304, 265, "opens files by number, past every folder's rights"),
    Refused("fanotify_init", 300, 262, "watches whole file systems"),
    Refused("kcmp", 312, 272, "compares the kernel's pointers"),
    Refused("lookup_dcookie", 212, 18, "reads paths from the kernel's profiler"),
)


@dataclass(frozen=True, slots=True)
class RefusedArgument:
    """A call that is refused where an argument is one of `values`, or has one of these bits."""

    name: str
    x86_64: int
    aarch64: int
    position: int
    jump: int
    values: tuple[int, ...]
    why: str


ARGUMENTS = (
    RefusedArgument("clone", 56, 220, 0, JUMP_SET, (CLONE_NEWUSER,), SPACES),
    RefusedArgument(
        "ioctl", 16, 29, 1, JUMP_EQUAL, (TIOCSTI, TIOCLINUX),
        "input pushed into a terminal is run by whoever reads it next",
    ),
    RefusedArgument(
        "socket", 41, 198, 0, JUMP_EQUAL, (AF_VSOCK, AF_ALG),
        "one reaches the hypervisor from any network namespace, the other the kernel's ciphers",
    ),
)  # fmt: skip


@cache
def program(machine: str = platform.machine()) -> bytes:
    """The filter as bubblewrap's --seccomp takes it; b"" for a machine whose numbers we lack."""
    if machine not in ARCHES:
        return b""
    out = [
        _step(LOAD, ARCH_AT),
        # Another calling convention has other numbers: 32-bit programs are told it is missing.
        _step(JUMP_EQUAL, ARCHES[machine], 1, 0),
        _refuse(errno.ENOSYS),
        _step(LOAD, NUMBER_AT),
    ]
    if machine == "x86_64":
        out += [_step(JUMP_SET, X32_BIT, 0, 1), _refuse(errno.ENOSYS)]
    # Its flags lie in memory, which no filter can read; the C library falls back to clone.
    out += [_step(JUMP_EQUAL, CLONE3, 0, 1), _refuse(errno.ENOSYS)]
    for call in REFUSED:
        number = call.x86_64 if machine == "x86_64" else call.aarch64
        if number is not None:
            out += [_step(JUMP_EQUAL, number, 0, 1), _refuse(errno.EPERM)]
    for rule in ARGUMENTS:
        out += _by_argument(rule, rule.x86_64 if machine == "x86_64" else rule.aarch64)
    return b"".join([*out, _step(RETURN, ALLOW)])


def _by_argument(rule: RefusedArgument, number: int) -> list[bytes]:
    """Jumps are relative to the next step. All that the rules look at is in an argument's low half.

    The number is no longer at hand after it, so a call that passes is allowed at once.
    """
    count = len(rule.values)
    tests = [_step(rule.jump, value, count - i, 0) for i, value in enumerate(rule.values)]
    return [
        _step(JUMP_EQUAL, number, 0, count + 3),
        _step(LOAD, ARGUMENTS_AT + 8 * rule.position),
        *tests,
        _step(RETURN, ALLOW),
        _refuse(errno.EPERM),
    ]


def _step(code: int, k: int, jump_true: int = 0, jump_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, jump_true, jump_false, k)


def _refuse(number: int) -> bytes:
    return _step(RETURN, ERRNO | number)
