"""What hostile code tries in an attempt, on both runtimes of the local backend.

And in attempts that stood by before they were anybody's, which must be as shut as the others.

Each row of the table is a Python program that prints `escaped` where it got through. It runs in
an attempt, where it must not, and as root outside, where it must: so each row can fail.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from clusters.backends.base import EndReason
from clusters.backends.local.backend import LocalBackend
from tests.clusters.backends.machine import UID_BASE, settings_of
from tests.clusters.backends.standing import Claiming
from tests.contracts.backend import ended, log_holds, log_of, make_spec, run, wait_for
from tests.oci import image
from tests.oci.service import IMAGE, Podman
from tests.stacks.environments import OURS, prepared

pytestmark = [
    pytest.mark.sandbox,
    pytest.mark.oci,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
]
TEAM, OTHER_TEAM = 7, 8
RUNTIMES = ("bubblewrap", "container", "claimed")
MARK = "of-the-portal"
CALL = "import ctypes; call = ctypes.CDLL(None, use_errno=True).syscall; "
CONNECT = "import socket; s = socket.socket(socket.{family}); s.settimeout(3); s.connect({to}); "
BUFFER = "ctypes.create_string_buffer({}, 128)"
WRITE = "import os; any(os.path.exists(p) and os.open(p, os.O_WRONLY) for p in {paths}) or x; "
# x is not defined: a program that found nothing to write to has not escaped.


@dataclass(frozen=True)
class Row:
    """`program` may name what World.names holds, in braces of its own: `<secret>`."""

    name: str
    program: str


def call(number: int, *arguments: str) -> str:
    """A system call that must not give -1; numbers are x86-64's."""
    return CALL + f"assert call({number}, {', '.join(arguments)}) != -1, ctypes.get_errno()"


ROWS = (
    Row("portal files", "open('<secret>').read()"),
    Row("another team's home", "open('<other_home>/secret').read()"),
    Row("another team's checkpoints", "open('<other_checkpoints>/secret').read()"),
    Row("another team's run of the same id", "open('<checkpoints>/secret').read()"),
    Row("another team's volume", "open('<other_volume>/secret').read()"),
    Row("what lies beside the volume", "open('<volume>/../secret').read()"),
    Row("what lies beside the served folder", "open('<serve>/../secret').read()"),
    Row("what another attempt serves", CONNECT.format(family="AF_UNIX", to="'<other_server>'")),
    Row("unix sockets", CONNECT.format(family="AF_UNIX", to="'<socket>'")),
    Row("abstract unix sockets", CONNECT.format(family="AF_UNIX", to="'\\0<abstract>'")),
    Row("loopback ports", CONNECT.format(family="AF_INET", to="('127.0.0.1', <port>)")),
    Row("metadata address", CONNECT.format(family="AF_INET", to="('<metadata>', <port>)")),
    Row("the hypervisor's sockets", "import socket; socket.socket(40, 1)"),
    Row("host processes seen", f"assert b'{MARK}' in open('/proc/<pid>/cmdline', 'rb').read()"),
    Row(
        "host processes killed",
        f"import os; assert b'{MARK}' in open('/proc/<pid>/cmdline', 'rb').read(); "
        "os.kill(<pid>, 0)",
    ),
    Row("host processes traced", call(101, "16", "<pid>", "0", "0")),
    Row("mount", call(165, "b'none'", "b'<folder>'", "b'tmpfs'", "0", "None")),
    Row("mount, the new way", call(430, "b'tmpfs'", "0")),
    Row("copying a mount", call(428, "-100", "b'<folder>'", "1")),
    Row("mount attributes",
        call(442, "-100", "b'<folder>'", "0", BUFFER.format("b''"), "32")),
    Row("giving files away",
        "import os; p = '<volume>/gift'; open(p, 'w').close(); os.chown(p, 1, 1)"),
    Row("device nodes of other GPUs", "open('<gpu>', 'rb').read(1)"),
    Row(
        "making a device node",
        "import os; p = '<folder>/node'; os.mknod(p, 0o20666, os.makedev(1, 5)); "
        "open(p, 'rb').read(1)",
    ),
    Row(
        "set-user-id programs",
        "import os, subprocess; os.geteuid() or os.setuid(65534); "
        "assert subprocess.check_output(['<setuid>', '-u']).strip() == b'0'",
    ),
    Row("user namespaces", call(272, "0x10000000")),
    Row("user namespaces by clone", CALL + "pid = call(56, 0x10000011, 0, 0, 0, 0)\n"
        "if not pid: import os; os._exit(0)\nassert pid > 0"),
    Row("disks and memory",
        "import os; any(os.path.exists(p) and os.open(p, os.O_RDONLY) for p in <raw>) or x"),
    Row("/proc", WRITE.format(paths="('/proc/sys/kernel/core_pattern', '/proc/sysrq-trigger')")),
    Row("/sys", WRITE.format(paths="('/sys/kernel/uevent_helper', '/sys/kernel/mm/ksm/run', "
        "'/sys/block/vda/queue/read_ahead_kb', '/sys/module/kernel/parameters/panic')")),
    Row("release_agent", WRITE.format(paths="('/sys/fs/cgroup/memory/release_agent', "
        "'/sys/fs/cgroup/release_agent', '/sys/fs/cgroup/memory/notify_on_release')")),
    Row("own cgroup limits", WRITE.format(paths="('/sys/fs/cgroup/memory/memory.limit_in_bytes',"
        "'/sys/fs/cgroup/memory.max', '/sys/fs/cgroup/memory/cgroup.procs')")),
    Row("writing to the environment", "open('<environment>/escape', 'w')"),
    Row("writing to what the portal gave", "open('<given>', 'a')"),
    Row("writing to the system", "import os; os.close(os.open('<system>', os.O_WRONLY))"),
    Row("keyrings", call(250, "0", "-4", "1")),
    Row("io_uring", call(425, "1", BUFFER.format("b''"))),
    Row("bpf", call(321, "0", BUFFER.format("b'\\2\\0\\0\\0\\4\\0\\0\\0\\4\\0\\0\\0\\1'"), "72")),
    Row("performance counters",
        call(298, BUFFER.format("b'\\1\\0\\0\\0\\x70\\0\\0\\0'"), "0", "-1", "-1", "0")),
    Row("userfaultfd", call(323, "0")),
    Row("opening files by number",
        CALL + "call(304, -1, 0, 0); assert ctypes.get_errno() != 1"),
)  # fmt: skip


@dataclass
class World:
    """What there is outside to reach: names -> what stands for them in a row's program."""

    root: Path
    names: dict[str, str] = field(default_factory=dict)

    def program(self, row: Row, **inside: str) -> str:
        """The row's program with the names filled in; says `escaped` at its end."""
        text = row.program
        for name, value in (self.names | inside).items():
            text = text.replace(f"<{name}>", value)
        return f"{text}\nprint('escaped')"


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """Files, sockets, a process and devices of a portal with two teams on this machine."""
    root = Path(tempfile.mkdtemp(prefix="fastgpu-test-"))
    made = World(root)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, root)
        # Nothing but the sandbox may keep an attempt out: all of it is open to everybody.
        root.chmod(0o755)
        _write_files(made)
        made.names["socket"] = str(root / "socket")
        made.names["abstract"] = f"{MARK}-{os.getpid()}"
        stack.enter_context(_listening(socket.AF_UNIX, made.names["socket"]))
        stack.enter_context(_listening(socket.AF_UNIX, made.names["other_server"]))
        stack.enter_context(_listening(socket.AF_UNIX, f"\0{made.names['abstract']}"))
        port = stack.enter_context(_listening(socket.AF_INET, ("127.0.0.1", 0)))
        made.names["port"] = str(port.getsockname()[1])
        process = subprocess.Popen(
            ["setpriv", f"--reuid={UID_BASE + TEAM}", f"--regid={UID_BASE + TEAM}",
             "--clear-groups", sys.executable, "-c", "import time; time.sleep(600)", MARK],
        )  # fmt: skip
        stack.callback(process.wait)
        stack.callback(process.kill)
        made.names["pid"] = str(process.pid)
        yield made


def _write_files(world: World) -> None:
    root, names = world.root, world.names
    other_home = root / "local" / "attempts" / "fg-other" / "home"
    other_checkpoints = root / "local" / "checkpoints" / f"team-{OTHER_TEAM}" / "run-1"
    volumes = root / "local" / "volumes"
    other_serve = root / "local" / "attempts" / "fg-other" / "serve"
    lab = root / "environments" / "lab"
    folder = root / "folder"
    own = (volumes / "other", other_serve, lab / "bin", folder)
    for made in (other_home, other_checkpoints, *own):
        made.mkdir(parents=True)
    for place in (root, other_home, other_checkpoints, volumes, volumes / "other"):
        (place / "secret").write_text("hidden")
    (lab / "bin" / "python").symlink_to("/usr/bin/python3")
    setuid = lab / "bin" / Path(image.SETUID).name
    shutil.copy(shutil.which("id") or "/usr/bin/id", setuid)
    setuid.chmod(0o4755)
    (root / "environments" / "tools").symlink_to(prepared("tools", OURS) / "tools")
    (root / "environments" / "image.toml").write_text(f'image = "{IMAGE}"\n')
    gpu = root / "nvidia1"
    os.mknod(gpu, 0o20666, os.makedev(1, 5))
    gpu.chmod(0o666)
    (root / "system").write_text("")
    names |= {
        "secret": str(root / "secret"),
        "other_home": str(other_home),
        "other_checkpoints": str(other_checkpoints),
        "checkpoints": str(other_checkpoints),
        "other_volume": str(volumes / "other"),
        "other_server": str(other_serve / "lab.sock"),
        "volume": str(volumes / "other"),
        "serve": str(root / "folder"),
        "given": str(root / "system"),
        "folder": str(folder),
        "gpu": str(gpu),
        "setuid": str(setuid),
        "environment": str(lab),
        "system": str(root / "system"),
        "metadata": "127.0.0.1",
        "raw": "('/dev/kmsg', '/dev/mem', '/dev/kmem', '/dev/vda', '/dev/sda', '/dev/nvme0n1')",
    }


INSIDE = {
    "volume": "/workspace",
    "serve": "/run/serve",
    "given": "/run/fastgpu/start",
    "checkpoints": "/home/run/checkpoints",
    "folder": "/home/run",
    "gpu": "/dev/nvidia1",
    "metadata": "169.254.169.254",
    "port": "80",
    "system": "/usr/bin/bash",
}
"""Where the same thing is looked for inside, if elsewhere than outside."""
LOOPBACK = ("loopback ports",)


@contextmanager
def _listening(family: int, address: object) -> Iterator[socket.socket]:
    with socket.socket(family) as listener:
        listener.bind(address)  # type: ignore[arg-type]
        if isinstance(address, str) and not address.startswith("\0"):
            Path(address).chmod(0o666)
        listener.listen(64)
        yield listener


@pytest.fixture(scope="module")
def backends(world: World, podman: Podman) -> Iterator[dict[str, LocalBackend]]:
    """Runtime -> a backend that runs attempts so; all of them on one root."""
    settings = settings_of(world.root, oci_socket=str(podman.socket))
    plain, claiming = LocalBackend(settings), Claiming(settings)
    plain.make_volume("data", team_number=TEAM)
    yield {"bubblewrap": plain, "container": plain, "claimed": claiming}
    for name in os.listdir(world.root / "local" / "attempts"):  # noqa: PTH208
        plain.stop(name, grace_seconds=0)
    wait_for(lambda: not plain.observe([]).strays)
    wait_for(lambda: podman.run("ps", "--all", "--quiet") == "")
    wait_for(lambda: plain.keep_standbys([]) == [] and not _standing(world.root))


def _standing(root: Path) -> list[Path]:
    return list((root / "local" / "standby").glob("*-*"))


@pytest.fixture
def backend(backends: dict[str, LocalBackend], runtime: str) -> LocalBackend:
    """The one of the test's runtime."""
    return backends[runtime]


def environment_of(runtime: str) -> str:
    """The environment that chooses it."""
    return "image" if runtime == "container" else "lab"


@pytest.fixture(scope="module")
def attempted(world: World, backends: dict[str, LocalBackend]) -> Callable[[str], dict[str, str]]:
    """Runtime -> row's name -> what its program printed; all rows in one attempt of each."""
    known: dict[str, dict[str, str]] = {}

    def all_rows(runtime: str) -> dict[str, str]:
        if runtime not in known:
            known[runtime] = _attempt_all(world, backends[runtime], runtime)
        return known[runtime]

    return all_rows


def _attempt_all(world: World, backend: LocalBackend, runtime: str) -> dict[str, str]:
    places = dict(INSIDE)
    if runtime == "container":
        places |= {"setuid": image.SETUID, "environment": "/usr"}
    else:
        lab = "/opt/environments/lab"
        places |= {"setuid": f"{lab}/bin/{Path(image.SETUID).name}", "environment": lab}
    script = []
    for index, row in enumerate(ROWS):
        here = places | ({"port": world.names["port"]} if row.name in LOOPBACK else {})
        program = world.program(row, **here)
        script += [
            f"cat > ~/p{index}.py <<'PROGRAM'\n{program}\nPROGRAM",
            f"echo '# {index}'; /usr/bin/python3 -I ~/p{index}.py 2>&1 | tail -n 1",
        ]
    made = make_spec("\n".join(script), team=TEAM, environment=environment_of(runtime), seconds=90)
    spec = replace(made, volume="data")
    assert run(backend, spec).reason is EndReason.COMPLETED
    parts = log_of(backend, spec.external_name).decode().split("# ")[1:]
    said = {int(part.partition("\n")[0]): part.partition("\n")[2].strip() for part in parts}
    return {row.name: said[index] for index, row in enumerate(ROWS)}


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_it_is_refused(row: Row, runtime: str, attempted: Callable[[str], dict[str, str]]) -> None:
    said = attempted(runtime)[row.name]
    assert "Error" in said, said


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_the_same_program_gets_through_outside(row: Row, world: World) -> None:
    done = subprocess.run(
        ["unshare", "--mount", sys.executable, "-I", "-c", world.program(row)],
        check=False, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.stdout == "escaped\n", done.stderr


@pytest.mark.parametrize("runtime", RUNTIMES)
class TestTooMuch:
    """What takes more than its share ends alone, and its neighbour goes on."""

    def test_20_gb_of_memory(self, backend: LocalBackend, runtime: str) -> None:
        hog = "python3 -c 'x = bytearray({} * 10**6); print(\"had it\")'"
        spec = make_spec(
            f"{hog.format(20)}; {hog.format(20_000)}", environment=environment_of(runtime)
        )
        assert run(backend, spec).reason is EndReason.OUT_OF_MEMORY
        assert log_of(backend, spec.external_name).startswith(b"had it\n")

    def test_a_full_disk_of_checkpoints(self, backend: LocalBackend, runtime: str) -> None:
        spec = make_spec(
            "cd $FASTGPU_CHECKPOINT_DIR; i=0; "
            "while true; do head -c 4M /dev/zero > f$i || exit 1; i=$((i+1)); done",
            environment=environment_of(runtime),
            team=9,
        )
        assert run(backend, spec).reason is EndReason.DISK_FULL

    def test_a_fork_bomb_beside_a_neighbour(self, backend: LocalBackend, runtime: str) -> None:
        bomb = make_spec(":(){ :|:& };:; sleep 60", environment=environment_of(runtime))
        backend.submit(bomb)
        neighbour = make_spec("echo well", environment=environment_of(runtime))
        assert run(backend, neighbour).reason is EndReason.COMPLETED
        backend.stop(bomb.external_name, grace_seconds=0)
        assert ended(backend, bomb.external_name).reason is EndReason.STOPPED


@pytest.mark.parametrize("runtime", RUNTIMES)
class TestDownloads:
    """Links that an attempt leaves for the portal to follow."""

    @pytest.mark.parametrize("place", ["", "checkpoints/"])
    def test_no_link_is_followed_out(
        self, backend: LocalBackend, world: World, runtime: str, place: str
    ) -> None:
        secret = Path(world.names["secret"])
        spec = make_spec(
            f"cd ./{place}; ln -sf {secret} link; ln -sfn {secret.parent} folder; "
            "ln -sfn /proc/self/root root; printf kept > kept",
            environment=environment_of(runtime),
        )
        run(backend, spec)
        listed = [file.path for file in backend.list_files(spec.external_name)]
        assert {Path(path).name for path in listed} == {"kept"}
        with backend.open_file(spec.external_name, f"{place}kept") as file:
            assert file.read() == b"kept"
        for path in ("link", "folder/secret", f"root{secret}", "../secret", "../../secret"):
            with pytest.raises(FileNotFoundError):
                backend.open_file(spec.external_name, place + path)

    def test_the_checkpoint_folder_cannot_be_replaced_by_a_link(
        self, backend: LocalBackend, world: World, runtime: str
    ) -> None:
        target = Path(world.names["secret"]).parent
        spec = make_spec(
            f"rm -rf checkpoints; mv checkpoints away; ln -s {target} checkpoints; echo tried",
            environment=environment_of(runtime),
            team=10,
        )
        run(backend, spec)
        assert b"tried" in log_of(backend, spec.external_name)
        with pytest.raises(FileNotFoundError):
            backend.open_file(spec.external_name, "checkpoints/secret")


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_neighbours_processes_are_not_seen(backend: LocalBackend, runtime: str) -> None:
    first = make_spec("echo here; sleep 58", environment=environment_of(runtime))
    backend.submit(first)
    log_holds(backend, first.external_name, b"here\n")
    second = make_spec(
        "cat /proc/[0-9]*/cmdline | tr '\\0' ' '", environment=environment_of(runtime)
    )
    run(backend, second)
    log = log_of(backend, second.external_name)
    assert b"cat" in log
    assert b"sleep 58" not in log
    backend.stop(first.external_name, grace_seconds=0)
    ended(backend, first.external_name)
