"""A terminal in an attempt that runs, whatever runs there."""

from __future__ import annotations

import errno
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from clusters.backends.base import BackendError, Endpoint, EndReason
from clusters.backends.dial import dial
from clusters.backends.local.backend import LocalBackend
from clusters.backends.local.shown import SDK_HERE
from tests.clusters.backends.browser import looking
from tests.clusters.backends.machine import ENVIRONMENTS, RUNTIMES, state_of
from tests.contracts.backend import ended, log_holds, log_of, make_spec, run, wait_for
from tests.stacks.environments import OURS, prepared

pytestmark = pytest.mark.sandbox
JOB = "trap 'echo saved; exit 3' TERM; echo ready; while :; do sleep 0.1; done"


@pytest.fixture(scope="session")
def tools_folder() -> Path:
    """The prepared environment `tools`."""
    return prepared("tools", OURS) / "tools"


@pytest.fixture
def tooled(root: Path, tools_folder: Path) -> None:
    """A root whose environments have the tools."""
    (root / "environments").mkdir(exist_ok=True)
    (root / "environments" / "tools").symlink_to(tools_folder)


def opened(backend: LocalBackend, name: str) -> Endpoint:
    """Ask for a terminal; where it is."""
    backend.open_terminal(name)
    endpoint = backend.endpoint(name, "terminal")
    assert endpoint is not None
    return endpoint


def started(backend: LocalBackend, command: str = JOB, *, runtime: str = "bubblewrap") -> str:
    """The name of an attempt that has said `ready`."""
    spec = make_spec(command, environment=ENVIRONMENTS[runtime], env={"COLOUR": "blue and green"})
    backend.submit(spec)
    log_holds(backend, spec.external_name, b"ready\n")
    return spec.external_name


def processes(root: Path, name: str) -> dict[int, str]:
    """Pid -> command line of all that live in the attempt's pid namespace."""
    inner = state_of(root, name)["inner_pid"]
    space = os.readlink(f"/proc/{inner}/ns/pid")  # noqa: PTH115 (a magic link's text)
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(process / "ns/pid") == space:  # noqa: PTH115
                found[int(process.name)] = (process / "cmdline").read_text().replace("\0", " ")
        except OSError:
            continue
    return found


def pids_of(root: Path, name: str, word: str) -> list[int]:
    """Those with `word` in their command line."""
    return [pid for pid, words in processes(root, name).items() if word in words]


def cpu_ticks(pid: int) -> int:
    """CPU time that the process has had."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def resident_bytes(pid: int) -> int:
    """Its resident memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.usefixtures("tooled")
@pytest.mark.parametrize("runtime", RUNTIMES)
class TestTerminal:
    """In a plain job, on both runtimes."""

    def test_its_shell_is_a_process_of_the_attempt(
        self, either: LocalBackend, runtime: str, root: Path
    ) -> None:
        name = started(either, runtime=runtime)
        facts = "cat /proc/%s/cgroup; grep -E '^(Uid|Gid|Cap|NoNew|Seccomp:)' /proc/%s/status; "
        facts += "for s in user pid mnt net ipc uts cgroup; do readlink /proc/%s/ns/$s; done"
        with looking(opened(either, name)) as browser:
            assert browser.asks("pwd; echo $COLOUR") == "/home/run\nblue and green\n"
            shells = browser.asks(facts % ("self", "self", "self"))
            assert shells == browser.asks(facts % ("1", "1", "1"))
            assert "Seccomp:\t2" in shells

    def test_the_log_and_the_exit_code_are_the_commands(
        self, either: LocalBackend, runtime: str
    ) -> None:
        waits = "echo ready; until [ -e go ]; do sleep 0.05; done; exit 5"
        name = started(either, waits, runtime=runtime)
        with looking(opened(either, name)) as browser:
            browser.type("trap '' TERM HUP; sleep 600 & touch go\r")
            end = ended(either, name)
        assert (end.reason, end.exit_code) == (EndReason.USER_ERROR, 5)
        assert log_of(either, name) == b"ready\n"
        assert either.endpoint(name, "terminal") is None

    def test_it_does_not_hold_up_a_stop(self, either: LocalBackend, runtime: str) -> None:
        name = started(either, runtime=runtime)
        with looking(opened(either, name)) as browser:
            assert browser.asks("echo $((6 * 7))") == "42\n"
            begun = time.monotonic()
            either.stop(name, grace_seconds=20)
            end = ended(either, name)
        assert time.monotonic() - begun < 10
        assert end.reason is EndReason.STOPPED
        # bash may say in between how the command's own `sleep` ended.
        assert log_of(either, name).replace(b"Terminated\n", b"") == b"ready\nsaved\n"

    def test_an_attempt_that_was_never_asked_runs_nothing_for_it(
        self, either: LocalBackend, runtime: str, root: Path
    ) -> None:
        name = started(either, runtime=runtime)
        assert pids_of(root, name, "terminal.py") == []
        assert list((root / "local" / "attempts" / name / "serve").iterdir()) == []
        begun = time.monotonic()
        either.stop(name, grace_seconds=20)
        assert ended(either, name).reason is EndReason.STOPPED
        assert time.monotonic() - begun < 10

    def test_asking_again_starts_no_second_one(
        self, either: LocalBackend, runtime: str, root: Path
    ) -> None:
        name = started(either, runtime=runtime)
        with looking(opened(either, name)) as browser:
            pid = browser.asks("echo $$")
            for _ in range(3):
                either.open_terminal(name)
            with looking(opened(either, name)) as other:
                other.sees(pid.strip())
                assert other.asks("echo $$") == pid
        wait_for(lambda: len(pids_of(root, name, "terminal.py")) == 1)

    def test_who_does_not_know_the_token_gets_nothing(
        self, either: LocalBackend, runtime: str
    ) -> None:
        name = started(either, runtime=runtime)
        endpoint = opened(either, name)
        good = {"Authorization": f"token {endpoint.token}"}
        with (
            looking(endpoint),
            dial(endpoint) as path,
            httpx.Client(transport=httpx.HTTPTransport(uds=path)) as client,
        ):
            assert client.get("http://lab/api", headers=good).status_code == 200
            for headers in ({}, {"Authorization": "token guess"}):
                assert client.get("http://lab/api", headers=headers).status_code == 403
        with pytest.raises(InvalidStatus), looking(endpoint, token="guess"):
            pass


@pytest.mark.usefixtures("tooled")
class TestShell:
    """What people do in it."""

    def test_two_browsers_share_it_and_it_outlives_them(self, backend: LocalBackend) -> None:
        endpoint = opened(backend, started(backend))
        with looking(endpoint) as first:
            first.asks("number=41")
            with looking(endpoint) as second:
                second.type("echo $((number + 1))\r")
                first.sees("42\r\n")
                second.sees("42\r\n")
        with looking(endpoint) as third:
            assert third.asks("echo $number") == "41\n"

    def test_what_it_runs_can_be_interrupted(self, backend: LocalBackend, root: Path) -> None:
        name = started(backend)
        with looking(opened(backend, name)) as browser:
            browser.type("sleep 600\r")
            wait_for(lambda: pids_of(root, name, "sleep 600"))
            browser.type("\x03")
            assert browser.asks("echo still here") == "still here\n"

    def test_its_size_is_the_browsers(self, backend: LocalBackend) -> None:
        with looking(opened(backend, started(backend))) as browser:
            browser.resize(40, 132)
            assert browser.asks("stty size") == "40 132\n"

    def test_after_its_end_there_is_a_new_one(self, backend: LocalBackend) -> None:
        endpoint = opened(backend, started(backend))
        with looking(endpoint) as browser:
            browser.asks("old=1")
            browser.type("exit\r")
            browser.sees("<disconnect>")
        with looking(endpoint) as browser:
            assert browser.asks("echo [$old]") == "[]\n"

    def test_it_begins_in_the_volume_where_there_is_one(self, backend: LocalBackend) -> None:
        backend.make_volume("data", team_number=7)
        spec = replace(make_spec("echo ready; sleep 60"), volume="data")
        backend.submit(spec)
        log_holds(backend, spec.external_name, b"ready\n")
        with looking(opened(backend, spec.external_name)) as browser:
            assert browser.asks("pwd") == "/workspace\n"

    def test_a_browser_that_does_not_read_costs_no_memory(
        self, backend: LocalBackend, root: Path
    ) -> None:
        name = started(backend)
        with looking(opened(backend, name)) as browser:
            assert browser.asks("echo well") == "well\n"
            browser.type("seq 1 20000000\r")
            (counter,) = wait_for(lambda: pids_of(root, name, "seq 1"))
            (server,) = pids_of(root, name, "terminal.py")
            wait_for(lambda: stands_still(counter), 60)
            assert resident_bytes(server) < 64 << 20
            browser.sees("\r\n30000\r\n")
            browser.type("\x03")
            assert browser.asks("echo well") == "well\n"


def stands_still(pid: int) -> bool:
    """Whether it got no CPU time for half a second."""
    before = cpu_ticks(pid)
    deadline = time.monotonic() + 0.5
    while time.monotonic() < deadline:
        if cpu_ticks(pid) != before:
            return False
        time.sleep(0.02)
    return True


class TestItsEnd:
    """When the server goes, by itself."""

    @contextmanager
    def serving(self, folder: Path, packages: Path) -> Iterator[subprocess.Popen[bytes]]:
        """A server that lingers for a second after the last look."""
        (folder / "token").write_text("secret")
        command = [
            "/usr/bin/python3", "-I", "-S", str(SDK_HERE / "lab" / "terminal.py"),
            "--packages", str(packages), "--serve", str(folder), "--inside", str(folder),
            "--linger", "1",
        ]  # fmt: skip
        process = subprocess.Popen(command, cwd=folder, env={"HOME": str(folder)})
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    @pytest.fixture
    def packages(self, tools_folder: Path) -> Path:
        """Where the server's packages are."""
        return next(tools_folder.glob("lib/python3*/site-packages"))

    def endpoint(self, folder: Path) -> Endpoint:
        return Endpoint(socket=str(folder / "terminal.sock"), token="secret")

    def test_it_goes_after_the_last_browser_left(self, tmp_path: Path, packages: Path) -> None:
        with self.serving(tmp_path, packages) as process:
            with looking(self.endpoint(tmp_path)) as browser:
                browser.asks("sleep 1.5")
                assert process.poll() is None
            assert process.wait(20) == 0
        assert not (tmp_path / "terminal.sock").exists()

    def test_it_stays_while_something_runs_in_the_shell(
        self, tmp_path: Path, packages: Path
    ) -> None:
        with self.serving(tmp_path, packages) as process:
            with looking(self.endpoint(tmp_path)) as browser:
                browser.type("sleep 4; touch done\r")
                browser.sees("sleep 4")
            assert process.wait(20) == 0
        assert (tmp_path / "done").exists()

    def test_what_it_was_given_later_is_the_shells_environment(
        self, tmp_path: Path, packages: Path
    ) -> None:
        (tmp_path / "environ").write_bytes(b"HOME=/\0COLOUR=blue = green\n\0PATH=/usr/bin\0")
        with self.serving(tmp_path, packages), looking(self.endpoint(tmp_path)) as browser:
            assert browser.asks('echo "$COLOUR$HOME"') == "blue = green\n/\n"


@pytest.mark.usefixtures("tooled")
def test_who_knocks_and_goes_without_a_word_shuts_no_door(
    backend: LocalBackend, root: Path
) -> None:
    name = started(backend)
    door = root / "local" / "attempts" / name / "inside" / "door"
    for _ in range(3):
        wait_for(lambda: _is_awaited(door))
    with looking(opened(backend, name)) as browser:
        assert browser.asks("echo $((6 * 7))") == "42\n"


def _is_awaited(door: Path) -> bool:
    """Whether somebody is behind the door; nothing is said to them."""
    try:
        os.close(os.open(door, os.O_WRONLY | os.O_NONBLOCK))
    except OSError as error:
        if error.errno == errno.ENXIO:
            return False
        raise
    return True


@pytest.mark.usefixtures("tooled")
def test_what_killed_the_door_has_none(backend: LocalBackend) -> None:
    # What waits there was started just before the command.
    kill = "door=$(($$ - 1)); kill -9 $door; while kill -0 $door; do sleep 0.02; done 2> /dev/null"
    name = started(backend, f"{kill}; echo ready; sleep 60")
    with pytest.raises(BackendError, match="killed it"):
        backend.open_terminal(name)


@pytest.mark.usefixtures("tooled")
def test_what_does_not_run_has_none(backend: LocalBackend) -> None:
    spec = make_spec("true")
    run(backend, spec)
    for name in (spec.external_name, "fg-never-was"):
        with pytest.raises(BackendError, match="runs"):
            backend.open_terminal(name)


def test_without_the_tools_it_is_said_how_to_get_them(backend: LocalBackend) -> None:
    name = started(backend)
    with pytest.raises(BackendError, match="build_environments tools"):
        backend.open_terminal(name)
