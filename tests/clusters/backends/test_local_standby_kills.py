"""Claims in which a process dies, at one step after the other.

strace kills it as it enters a system call: the portal's process that claims, the supervisor, or
one that the supervisor has started for a part of the work.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from clusters.backends.base import EndReason, LaunchSpec, Phase
from clusters.backends.local.backend import LocalBackend
from tests.clusters.backends.machine import UID_BASE, ending_all, needs_root, settings_of
from tests.clusters.backends.standing import SERVER, serving, stand_by, was_claimed, wish
from tests.clusters.backends.test_local_standby import ends_all, processes_of_slots, standing
from tests.contracts.backend import ended, log_of, look, make_spec, run, wait_for

pytestmark = [
    pytest.mark.sandbox,
    needs_root,
    pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace"),
]
TOP = Path(__file__).parents[3]
SUBMIT = """
import sys
from dataclasses import replace
from pathlib import Path
from clusters.backends.local.backend import LocalBackend
from tests.clusters.backends.machine import settings_of
from tests.clusters.backends.test_local_standby_kills import wanted
LocalBackend(settings_of(Path(sys.argv[1]))).submit(wanted(sys.argv[2]))
"""
COUNT = "echo once >> /workspace/count; echo ran"


def wanted(name: str) -> LaunchSpec:
    """An attempt that leaves a trace of each time it runs."""
    return replace(serving(make_spec(COUNT, name=name)), volume="data")


@pytest.fixture
def backend(root: Path) -> Iterator[LocalBackend]:
    """A backend with a volume, and something that stands by."""
    made = LocalBackend(settings_of(root))
    made.make_volume("data", team_number=7)
    stand_by(made, wish())
    with ending_all(made, root):
        yield made
        ends_all(made, root)


def runs(backend: LocalBackend) -> int:
    """How often the command of an attempt has run."""
    try:
        return len((backend.volume_path("data") / "count").read_text().splitlines())
    except FileNotFoundError:
        return 0


@contextmanager
def killing(pid: int, call: str, when: int, *, below: bool = False) -> Iterator[None]:
    """strace at a supervisor: it dies at its `when`-th such call; `below`: who makes that one."""
    follow = ["-f"] if below else []
    tracer = subprocess.Popen(
        ["strace", *follow, "-p", str(pid), "-o", "/dev/null", "-e", f"trace={call}",
         "-e", f"inject={call}:signal=KILL:when={when}"],
        stderr=subprocess.PIPE,
    )  # fmt: skip
    assert tracer.stderr is not None
    try:
        assert b"attached" in tracer.stderr.readline()
        yield
    finally:
        tracer.terminate()
        tracer.wait()
        tracer.stderr.close()


def supervisor_of(root: Path) -> int:
    """The pid of the one that stands by."""
    (folder,) = standing(root)
    return int(json.loads((folder / "state.json").read_text())["supervisor"]["pid"])


@contextmanager
def held(pid: int) -> Iterator[int]:
    """A process that does nothing meanwhile."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGCONT)


STEPS = {
    "rename": 4, "unlink": 1, "write": 8, "clone": 3, "open_tree": 2, "mount_setattr": 2, "kill": 2,
    "chmod": 2, "sendto": 1, "recvfrom": 1,
}  # fmt: skip
"""Calls of the supervisor that change something, and how many of each a claim takes."""
SUPERVISOR = [(call, when) for call, count in STEPS.items() for when in range(1, count + 1)]


@pytest.mark.parametrize(("call", "when"), SUPERVISOR, ids=str)
def test_a_supervisor_that_dies_leaves_nothing_running(
    backend: LocalBackend, root: Path, call: str, when: int
) -> None:
    spec = wanted("fg-claimed")
    pid = supervisor_of(root)
    with killing(pid, call, when):
        backend.submit(spec)
        end = ended(backend, spec.external_name)
    assert end.reason is EndReason.NODE_LOST, "the call was never made"
    wait_for(lambda: not processes_of_slots())
    assert runs(backend) <= 1
    assert backend.observe([]).strays == ()
    assert backend.submit(spec) == end
    folder = root / "local" / "attempts" / spec.external_name
    groups = json.loads((folder / "spec.json").read_text())["cgroups"]
    wait_for(lambda: not any(Path(path).exists() for path in groups.values()))
    # The next attempt has all that it needs.
    before = runs(backend)
    after = wanted("fg-again")
    assert run(backend, after).reason is EndReason.COMPLETED
    assert runs(backend) == before + 1


@pytest.mark.parametrize(
    ("call", "when"),
    # None of these is made when an attempt starts as ever.
    [("setns", 1), ("move_mount", 1), ("move_mount", 2)],
    ids=str,
)
def test_a_part_of_the_claim_that_dies_makes_the_attempt_start_anew(
    backend: LocalBackend, root: Path, call: str, when: int
) -> None:
    spec = wanted("fg-claimed")
    with killing(supervisor_of(root), call, when, below=True):
        backend.submit(spec)
        assert ended(backend, spec.external_name).reason is EndReason.COMPLETED
    assert not was_claimed(root / "local", spec.external_name)
    assert runs(backend) == 1
    assert log_of(backend, spec.external_name) == b"ran\n"
    assert (backend.volume_path("data") / "count").stat().st_uid == UID_BASE + 7
    home = root / "local" / "attempts" / spec.external_name / "home"
    assert home.stat().st_uid == UID_BASE + 7
    wait_for(lambda: not processes_of_slots())


def test_a_server_that_dies_of_its_claim_makes_the_attempt_start_anew(
    backend: LocalBackend, root: Path
) -> None:
    ends_all(backend, root)
    dies = SERVER.replace("handover.say_claimed()", "os._exit(3)")
    stand_by(backend, wish(command=dies))
    spec = replace(wanted("fg-claimed"), command=dies)
    assert run(backend, spec).reason is EndReason.COMPLETED
    assert not was_claimed(root / "local", spec.external_name)
    assert (runs(backend), log_of(backend, spec.external_name)) == (1, b"ran\n")


def test_a_server_that_is_dead_before_its_claim_makes_the_attempt_start_anew(
    backend: LocalBackend, root: Path
) -> None:
    (folder,) = standing(root)
    (folder / "claim-nobody.json").write_text("{}")
    spec = wanted("fg-claimed")
    with held(supervisor_of(root)) as pid:
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            os.kill(int(child), signal.SIGKILL)
        backend.submit(spec)
    assert ended(backend, spec.external_name).reason is EndReason.COMPLETED
    assert not was_claimed(root / "local", spec.external_name)
    assert runs(backend) == 1
    kept = os.listdir(root / "local" / "attempts" / spec.external_name)  # noqa: PTH208
    assert not [name for name in kept if name.startswith("claim-")]


@pytest.mark.parametrize(
    ("inject", "path"),
    [
        ("rename:signal=KILL:when=1", ""),
        ("rename:signal=KILL:when=2", ""),
        ("openat:signal=KILL:when=1", "local/attempts/fg-claimed/control"),
        ("write:signal=KILL:when=1", "local/attempts/fg-claimed/control"),
        ("openat:signal=KILL:when=2", "local/attempts/fg-claimed/state.json"),
    ],
    ids=[
        "before the claim is written",
        "before the rename",
        "after the rename",
        "before it wakes the supervisor",
        "in its wait",
    ],
)
def test_a_portal_that_dies_leaves_one_attempt_or_none(
    backend: LocalBackend, root: Path, inject: str, path: str
) -> None:
    call, _, _ = inject.partition(":")
    only = ["-P", str(root / path)] if path else []
    words = ["strace", "-f", "-o", "/dev/null", *only, "-e", f"trace={call}", "-e",
             f"inject={inject}", sys.executable, "-c", SUBMIT, str(root), "fg-claimed"]  # fmt: skip
    done = subprocess.run(words, check=False, cwd=TOP, capture_output=True, timeout=60)
    assert done.returncode in (-9, 137), done.stderr
    spec = wanted("fg-claimed")
    begun = look(backend, spec.external_name)
    assert (begun is None) == ("rename" in inject)
    # It goes on by itself, where it had become one, and is taken where it had not.
    if begun is None:
        assert len(standing(root)) == 1
        assert backend.submit(spec).phase is not Phase.PENDING
    assert ended(backend, spec.external_name).reason is EndReason.COMPLETED
    assert was_claimed(root / "local", spec.external_name)
    assert (runs(backend), log_of(backend, spec.external_name)) == (1, b"ran\n")
    assert standing(root) == []


def test_a_stop_between_the_claim_and_the_begin_never_runs(
    backend: LocalBackend, root: Path
) -> None:
    spec = wanted("fg-claimed")
    with held(supervisor_of(root)):
        assert backend.submit(spec).phase is Phase.PENDING
        backend.stop(spec.external_name, grace_seconds=5)
    end = ended(backend, spec.external_name)
    assert (end.reason, end.started_at) == (EndReason.STOPPED, None)
    assert runs(backend) == 0
    wait_for(lambda: not processes_of_slots())
