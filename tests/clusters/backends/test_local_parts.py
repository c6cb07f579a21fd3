"""Parts of the local backend by themselves: cgroups of both versions, the filter, the views."""

from __future__ import annotations

import errno
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from clusters.backends.base import Limits
from clusters.backends.local import cgroups, container_seccomp, seccomp, watch

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
LIMITS = Limits(memory_bytes=1 << 30, pids=64, cpu_cores=1.5, disk_bytes=1 << 30, log_bytes=1 << 20)
REAL_V2 = next(
    (Path(line.split()[1]) for line in Path("/proc/mounts").read_text().splitlines()
     if line.split()[2] == "cgroup2"),
    None,
)  # fmt: skip
needs_v2 = pytest.mark.skipif(
    REAL_V2 is None or os.geteuid() != 0, reason="needs a cgroup2 mount and root"
)


class TestV2Files:
    """What is written where, on files that stand for the kernel's."""

    @pytest.fixture
    def mount(self, tmp_path: Path) -> Path:
        """A service's group with the control files that the kernel would make."""
        for folder in ("svc", "svc/fastgpu", "svc/fastgpu/run"):
            group = tmp_path / folder
            group.mkdir()
            (group / "cgroup.controllers").write_text("cpu memory pids io")
            (group / "cgroup.subtree_control").write_text("")
        for name in ("memory.max", "memory.swap.max", "pids.max", "cpu.max"):
            (tmp_path / "svc/fastgpu/run" / name).write_text("")
        return tmp_path

    @pytest.mark.parametrize("own", ["/svc", "/svc/portal"])
    def test_ceilings_are_set_below_the_portals_own_group(
        self, mount: Path, tmp_path: Path, own: str
    ) -> None:
        (tmp_path / "own").write_text(f"3:cpu:/elsewhere\n0::{own}\n")
        made = cgroups.create("run", LIMITS, mount=mount, own=tmp_path / "own")
        folder = mount / "svc/fastgpu/run"
        assert made == {"unified": str(folder)}
        read = {path.name: path.read_text() for path in folder.iterdir() if "max" in path.name}
        assert read == {
            "memory.max": str(1 << 30),
            "memory.swap.max": "0",
            "pids.max": "64",
            "cpu.max": "150000 100000",
        }
        enabled = (mount / "svc/cgroup.subtree_control").read_text()
        assert enabled == (mount / "svc/fastgpu/cgroup.subtree_control").read_text()
        assert enabled == "+memory +pids +cpu"
        assert cgroups.enforced(made) == {"memory", "pids", "cpu"}

    def test_a_tree_that_is_not_ours_gives_nothing(self, tmp_path: Path) -> None:
        (tmp_path / "own").write_text("0::/nowhere\n")
        assert cgroups.create("run", LIMITS, mount=tmp_path, own=tmp_path / "own") == {}

    def test_an_enabled_controller_is_not_enabled_again(self, mount: Path, tmp_path: Path) -> None:
        (tmp_path / "own").write_text("0::/svc\n")
        (mount / "svc/cgroup.subtree_control").write_text("memory pids cpu")
        cgroups.create("run", LIMITS, mount=mount, own=tmp_path / "own")
        assert (mount / "svc/cgroup.subtree_control").read_text() == "memory pids cpu"


@needs_v2
class TestV2Kernel:
    """The kernel's own rules, with a controller that its v2 hierarchy has."""

    @pytest.fixture
    def service(self) -> Iterator[Path]:
        """A group with a process in it, as systemd leaves a service's."""
        assert REAL_V2 is not None
        enabled = (REAL_V2 / "cgroup.subtree_control").read_text().split()
        group = REAL_V2 / f"fastgpu-test-{os.getpid()}"
        group.mkdir()
        process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        (group / "cgroup.procs").write_text(str(process.pid))
        yield group
        (group / "cgroup.kill").write_text("1")
        process.wait()
        below = [path for path in group.rglob("*") if path.is_dir()]
        watch.remove_cgroups({str(p): str(p) for p in [*sorted(below, reverse=True), group]})
        now = (REAL_V2 / "cgroup.subtree_control").read_text().split()
        for controller in set(now) - set(enabled):
            (REAL_V2 / "cgroup.subtree_control").write_text(f"-{controller}")

    def test_processes_of_a_service_make_way_for_controllers(
        self, service: Path, tmp_path: Path
    ) -> None:
        assert REAL_V2 is not None
        has = (REAL_V2 / "cgroup.controllers").read_text().split()
        if not has:
            pytest.skip("this kernel's v2 hierarchy has no controller")
        (REAL_V2 / "cgroup.subtree_control").write_text(f"+{has[0]}")
        inside = (service / "cgroup.procs").read_text()
        (tmp_path / "own").write_text(f"0::/{service.name}\n")
        made = cgroups.create(
            "run", LIMITS, mount=REAL_V2, own=tmp_path / "own", controllers=[has[0]]
        )
        assert made == {"unified": str(service / "fastgpu/run")}
        assert (service / "cgroup.procs").read_text() == ""
        assert (service / "portal/cgroup.procs").read_text() == inside
        assert (service / "fastgpu/run/cgroup.controllers").read_text().split() == [has[0]]

    def test_freezing_holds_and_emptying_kills_what_is_frozen(
        self, service: Path, tmp_path: Path
    ) -> None:
        assert REAL_V2 is not None
        (tmp_path / "own").write_text(f"0::/{service.name}\n")
        made = cgroups.create("run", LIMITS, mount=REAL_V2, own=tmp_path / "own", controllers=[])
        group = Path(made["unified"])
        process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        (group / "cgroup.procs").write_text(str(process.pid))
        assert watch.set_frozen(made, frozen=True)
        assert (group / "cgroup.freeze").read_text() == "1\n"
        watch.empty_cgroups(made)
        assert process.wait(30) == -9


class TestFilter:
    """The seccomp program, run by hand."""

    def answer(
        self, number: int, *arguments: int, arch: int | None = None, machine: str = "x86_64"
    ) -> int:
        """What the filter says of a call: seccomp's return value."""
        code = seccomp.program(machine)
        steps = list(struct.iter_unpack("=HBBI", code))
        words = [arch or seccomp.ARCHES[machine], 0, 0]
        padded = [*arguments, *[0] * (6 - len(arguments))]
        data = struct.pack("=iIQ6Q", number, words[0], 0, *padded)
        value, at = 0, 0
        while True:
            kind, yes, no, k = steps[at]
            at += 1
            if kind == seccomp.LOAD:
                (value,) = struct.unpack_from("=I", data, k)
            elif kind == seccomp.JUMP_EQUAL:
                at += yes if value == k else no
            elif kind == seccomp.JUMP_SET:
                at += yes if value & k else no
            else:
                return int(k)

    @pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
    def test_each_listed_call_is_refused(self, machine: str) -> None:
        for refused in seccomp.REFUSED:
            number = getattr(refused, machine)
            if number is not None:
                said = self.answer(number, machine=machine)
                assert said == seccomp.ERRNO | errno.EPERM, refused.name

    def test_common_calls_pass(self) -> None:
        # read, mmap, clone of a thread, futex, ptrace, socket(AF_UNIX), socket(AF_INET), ioctl
        calls = [(0,), (9,), (56, 0x3D0F00), (202,), (101,), (41, 1), (41, 2), (16, 0, 0x5401)]
        assert {self.answer(*call) for call in calls} == {seccomp.ALLOW}

    def test_arguments_decide_where_they_should(self) -> None:
        refused = [(56, 0x10000011), (16, 0, 0x5412), (16, 0, 0x541C), (41, 40), (41, 38)]
        assert {self.answer(*call) for call in refused} == {seccomp.ERRNO | errno.EPERM}

    def test_other_calling_conventions_are_told_the_call_is_missing(self) -> None:
        i386, missing = 0x40000003, seccomp.ERRNO | errno.ENOSYS
        assert self.answer(0, arch=i386) == missing
        assert self.answer(0x40000000 | 39) == missing
        assert self.answer(435) == missing

    def test_an_unknown_machine_has_no_filter(self) -> None:
        assert seccomp.program("riscv64") == b""


class TestPodmansProfile:
    """podman's own profile, made stricter."""

    def test_refused_calls_are_allowed_by_no_rule(self) -> None:
        base = {
            "defaultAction": "SCMP_ACT_ERRNO",
            "syscalls": [
                {"names": ["read", "clone", "unshare"], "action": "SCMP_ACT_ALLOW", "args": []},
                {"names": ["keyctl"], "action": "SCMP_ACT_ALLOW", "args": []},
            ],
        }
        rules = container_seccomp.strict(base)["syscalls"]
        free = [
            name
            for rule in rules
            if rule["action"] == "SCMP_ACT_ALLOW" and not rule["args"]
            for name in rule["names"]
        ]
        assert free == ["read"]


@needs_root
@pytest.mark.skipif(
    not Path("/sys/fs/cgroup/devices/cgroup.procs").exists(), reason="needs cgroup v1"
)
def test_the_devices_controller_opens_the_allotted_node_alone(tmp_path: Path) -> None:
    nodes = [tmp_path / f"nvidia{minor}" for minor in range(2)]
    for minor, node in enumerate(nodes):
        # 195 is NVIDIA's; without its driver an open that is allowed finds no device.
        os.mknod(node, 0o20666, os.makedev(195, minor))
    name = f"test-{os.getpid()}"
    groups = cgroups.create(name, LIMITS, [nodes[0], Path("/dev/nvidia-is-not-here")])
    code = (
        "import sys\nopen(sys.argv[1], 'w').write('0')\n"
        "for path in sys.argv[2:]:\n"
        "  try: open(path); print(0)\n"
        "  except OSError as error: print(error.errno)"
    )
    words = [f"{groups['devices']}/cgroup.procs", *map(str, nodes), "/dev/null", "/dev/kmsg"]
    try:
        done = subprocess.run(
            [sys.executable, "-c", code, *words], check=True, capture_output=True, text=True
        )
    finally:
        watch.remove_cgroups(groups)
    assert [int(word) for word in done.stdout.split()] == [errno.ENXIO, errno.EPERM, 0, errno.EPERM]
