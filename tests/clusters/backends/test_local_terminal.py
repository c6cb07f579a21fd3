"""A terminal in an attempt that runs, whatever runs there."""

from __future__ import annotations

import errno
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import cast

import httpx
import pytest

from clusters.backends.base import BackendError, Endpoint
from clusters.backends.dial import dial
from clusters.backends.local.backend import LocalBackend
from clusters.backends.local.shown import SDK_HERE
from tests.clusters.backends.browser import looking
from tests.clusters.backends.machine import ENVIRONMENTS, RUNTIMES, state_of
from tests.contracts.backend import log_holds, make_spec, run, wait_for
from tests.contracts.terminal import TerminalContract, TerminalEngine, opened, started
from tests.stacks.environments import OURS, prepared

pytestmark = pytest.mark.sandbox


@pytest.fixture(scope="session")
def tools_folder() -> Path:
    """The prepared environment `tools`."""
    return prepared("tools", OURS) / "tools"


@pytest.fixture
def tooled(root: Path, tools_folder: Path) -> None:
    """A root whose environments have the tools."""
    (root / "environments").mkdir(exist_ok=True)
    (root / "environments" / "tools").symlink_to(tools_folder)


def engine_of(backend: LocalBackend) -> TerminalEngine:
    """The same, as the contract calls it."""
    return cast(TerminalEngine, backend)


def processes(root: Path, name: str) -> dict[int, str]:
    """Pid -> command line of all that live in the attempt's pid namespace."""
    inner = state_of(root, name)["inner_pid"]
    found: dict[int, str] = {}
    try:
        space = os.readlink(f"/proc/{inner}/ns/pid")  # noqa: PTH115 (a magic link's text)
    except FileNotFoundError:
        return found
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
class TestTerminal(TerminalContract):
    """On both runtimes."""

    @pytest.fixture
    def engine(self, either: LocalBackend) -> TerminalEngine:
        return engine_of(either)

    @pytest.fixture
    def environment(self, runtime: str) -> str:
        return ENVIRONMENTS[runtime]

    @pytest.fixture
    def servers(self, root: Path) -> Callable[[str], list[int]]:
        return lambda name: pids_of(root, name, "terminal.py")

    def test_its_shell_is_a_process_of_the_attempt(
        self, engine: TerminalEngine, environment: str
    ) -> None:
        name = started(engine, environment=environment)
        facts = "cat /proc/%s/cgroup; grep -E '^(Uid|Gid|Cap|NoNew|Seccomp:)' /proc/%s/status; "
        facts += "for s in user pid mnt net ipc uts cgroup; do readlink /proc/%s/ns/$s; done"
        with looking(opened(engine, name)) as browser:
            shells = browser.asks(facts % ("self", "self", "self"))
            assert shells == browser.asks(facts % ("1", "1", "1"))
            assert "Seccomp:\t2" in shells

    def test_before_it_is_asked_for_nothing_listens(
        self, engine: TerminalEngine, environment: str, root: Path
    ) -> None:
        name = started(engine, environment=environment)
        assert list((root / "local" / "attempts" / name / "serve").iterdir()) == []

    def test_no_path_of_the_server_answers_without_the_token(
        self, engine: TerminalEngine, environment: str
    ) -> None:
        endpoint = opened(engine, started(engine, environment=environment))
        good = {"Authorization": f"token {endpoint.token}"}
        with (
            looking(endpoint),
            dial(endpoint) as path,
            httpx.Client(transport=httpx.HTTPTransport(uds=path)) as client,
        ):
            assert client.get("http://lab/api", headers=good).status_code == 200
            for headers in ({}, {"Authorization": "token guess"}):
                assert client.get("http://lab/api", headers=headers).status_code == 403


@pytest.mark.usefixtures("tooled")
class TestShell:
    """What people do in it."""

    def test_two_browsers_share_it_and_it_outlives_them(self, backend: LocalBackend) -> None:
        endpoint = opened(engine_of(backend), started(engine_of(backend)))
        with looking(endpoint) as first:
            first.asks("number=41")
            with looking(endpoint) as second:
                second.type("echo $((number + 1))\r")
                first.sees("42\r\n")
                second.sees("42\r\n")
        with looking(endpoint) as third:
            assert third.asks("echo $number") == "41\n"

    def test_what_it_runs_can_be_interrupted(self, backend: LocalBackend, root: Path) -> None:
        name = started(engine_of(backend))
        with looking(opened(engine_of(backend), name)) as browser:
            browser.type("sleep 600\r")
            wait_for(lambda: pids_of(root, name, "sleep 600"))
            browser.type("\x03")
            assert browser.asks("echo still here") == "still here\n"

    def test_its_size_is_the_browsers(self, backend: LocalBackend) -> None:
        with looking(opened(engine_of(backend), started(engine_of(backend)))) as browser:
            browser.resize(40, 132)
            assert browser.asks("stty size") == "40 132\n"

    def test_after_its_end_there_is_a_new_one(self, backend: LocalBackend) -> None:
        endpoint = opened(engine_of(backend), started(engine_of(backend)))
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
        with looking(opened(engine_of(backend), spec.external_name)) as browser:
            assert browser.asks("pwd") == "/workspace\n"

    def test_a_browser_that_does_not_read_costs_no_memory(
        self, backend: LocalBackend, root: Path
    ) -> None:
        name = started(engine_of(backend))
        with looking(opened(engine_of(backend), name)) as browser:
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
    name = started(engine_of(backend))
    door = root / "local" / "attempts" / name / "inside" / "door"
    for _ in range(3):
        wait_for(lambda: _is_awaited(door))
    with looking(opened(engine_of(backend), name)) as browser:
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
    name = started(engine_of(backend), f"{kill}; echo ready; sleep 60")
    with pytest.raises(BackendError, match="killed it"):
        backend.open_terminal(name)


@pytest.mark.usefixtures("tooled")
def test_what_has_ended_has_none(backend: LocalBackend) -> None:
    spec = make_spec("true")
    run(backend, spec)
    with pytest.raises(BackendError, match="runs"):
        backend.open_terminal(spec.external_name)


def test_without_the_tools_it_is_said_how_to_get_them(backend: LocalBackend) -> None:
    name = started(engine_of(backend))
    with pytest.raises(BackendError, match="build_environments tools"):
        backend.open_terminal(name)
