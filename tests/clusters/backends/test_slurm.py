"""The Slurm backend on a real Slurm: the contract, and what only it promises."""

from __future__ import annotations

import json
import os
import pwd
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from clusters.backends.base import (
    Backend,
    BackendUnavailable,
    EndReason,
    Handle,
    LaunchRefused,
    Observation,
    Phase,
    WaitCause,
)
from clusters.backends.capabilities import Reservation
from clusters.backends.slurm.backend import SlurmBackend
from tests.contracts.backend import (
    BackendContract,
    ended,
    log_holds,
    log_of,
    look,
    make_spec,
    run,
    running,
    wait_for,
)
from tests.slurm.fake import FakeTools
from tests.slurm.lab import SlurmLab

pytestmark = pytest.mark.slurm
MEETS = """
import os, socket
rank, nodes = int(os.environ["NODE_RANK"]), int(os.environ["NNODES"])
address = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
if rank == 0:
    with socket.create_server(address) as server:
        peers = [server.accept()[0] for _ in range(nodes - 1)]
        heard = sorted(int(peer.recv(9)) for peer in peers)
        for peer in peers:
            peer.sendall(b"met")
            peer.close()
    print("heard", heard, "gpus", os.environ["CUDA_VISIBLE_DEVICES"], flush=True)
else:
    while True:
        try:
            peer = socket.create_connection(address)
            break
        except ConnectionRefusedError:
            pass
    peer.sendall(str(rank).encode())
    print("rank", rank, "of", os.environ["PET_NNODES"], peer.recv(9).decode(), flush=True)
    peer.close()
"""
SUBMIT = """
import json, sys
from dataclasses import replace
from pathlib import Path
from clusters.backends.slurm.backend import SlurmBackend
from clusters.backends.slurm.settings import SlurmSettings
from tests.contracts.backend import make_spec
given = json.loads(sys.argv[1])
for name in ("root", "bin"):
    given[name] = Path(given[name])
SlurmBackend(SlurmSettings(**given)).submit(make_spec("echo once", name=sys.argv[2]))
"""


@pytest.fixture
def backend(slurm_lab: SlurmLab) -> SlurmBackend:
    return SlurmBackend(slurm_lab.settings)


@pytest.fixture
def by_tools(slurm_lab: SlurmLab) -> SlurmBackend:
    """Without slurmrestd."""
    return SlurmBackend(replace(slurm_lab.settings, rest_url=""))


@pytest.fixture
def node(slurm_lab: SlurmLab) -> Iterator[str]:
    """A node, as good as new afterwards."""
    yield slurm_lab.node_names[2]
    slurm_lab.heal()


class TestSlurmContract(BackendContract):
    """What every backend must do."""

    def test_disk_filler_is_stopped(self, backend: Backend) -> None:
        pytest.skip("Slurm limits no disk: the shared file system's quota does")


# ---- submitting ----


@pytest.mark.parametrize("way", ["backend", "by_tools"])
def test_it_runs_as_the_teams_user_with_the_teams_group_only(
    way: str, slurm_lab: SlurmLab, request: pytest.FixtureRequest
) -> None:
    backend: SlurmBackend = request.getfixturevalue(way)
    user = pwd.getpwnam(slurm_lab.add_user(8))
    spec = make_spec("id -u; id -G; env | grep -c SECRET", team=8)
    os.environ["SECRET"] = "of the portal"
    try:
        run(backend, spec)
    finally:
        del os.environ["SECRET"]
    assert log_of(backend, spec.external_name).split() == [
        str(user.pw_uid).encode(),
        str(user.pw_gid).encode(),
        b"0",
    ]


def test_teams_do_not_see_each_others_work(slurm_lab: SlurmLab, backend: SlurmBackend) -> None:
    secret = make_spec("echo mine > f; echo mine > $FASTGPU_CHECKPOINT_DIR/f", env={"KEY": "mine"})
    run(backend, secret)
    root = slurm_lab.root
    spy = make_spec(
        f"ls -R {root}; cd {root}/attempts/{secret.external_name}; cat work/0/home/f work/0/log;"
        f"cat in/command in/env record.json end.json; cat {root}/checkpoints/7-run-1/f; echo end",
        team=8,
    )
    run(backend, spy)
    log = log_of(backend, spy.external_name)
    assert b"mine" not in log
    assert log.count(b"cat: ") == 7
    assert log.endswith(b"end\n")


def test_the_tools_run_what_slurmrestd_does(by_tools: SlurmBackend) -> None:
    spec = make_spec('printf "%s" "$A"; exit 5', env={"A": "a=b\n c'\"$x"})
    assert run(by_tools, spec).exit_code == 5
    assert log_of(by_tools, spec.external_name) == b"a=b\n c'\"$x"


@pytest.mark.parametrize(
    "command",
    [
        "#SBATCH --time=1\n#SBATCH --nodes=4\necho $SLURM_NNODES",
        "echo 1 # ' \" $(",
        "cat <<'E'\n1\nE",
        "x='" + "y" * (1 << 20) + "'\necho $((${#x} >> 20))",
    ],
    ids=["directives", "quotes", "lines", "a megabyte"],
)
def test_a_command_is_never_read_by_anything_but_bash(backend: SlurmBackend, command: str) -> None:
    spec = make_spec(command)
    run(backend, spec)
    assert log_of(backend, spec.external_name) == b"1\n"


@pytest.mark.parametrize(
    "options",
    [{"partition": "gpu\n#SBATCH --uid=0"}, {"qos": "normal --uid=0"}, {"account": "-x"}],
)
def test_an_option_is_never_more_than_a_word(
    backend: SlurmBackend, options: Mapping[str, str]
) -> None:
    with pytest.raises(LaunchRefused, match="cannot be"):
        backend.submit(replace(make_spec("true"), options=options))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"account": "nobodys"}, "sacctmgr add user"),
        ({"partition": "nowhere"}, "option partition"),
        ({"constraint": "h100"}, "option constraint"),
        ({"qos": "best"}, "option qos"),
    ],
)
@pytest.mark.parametrize("way", ["backend", "by_tools"])
def test_what_slurm_refuses_is_refused_with_advice(
    way: str, options: Mapping[str, str], words: str, request: pytest.FixtureRequest
) -> None:
    backend: SlurmBackend = request.getfixturevalue(way)
    spec = replace(make_spec("true"), options=options)
    with pytest.raises(LaunchRefused, match=words):
        backend.submit(spec)


def test_what_was_refused_may_be_submitted_again(backend: SlurmBackend) -> None:
    spec = replace(make_spec("true"), gpus=9)
    with pytest.raises(LaunchRefused, match="No machine of the pool"):
        backend.submit(spec)
    assert run(backend, replace(spec, gpus=1)).reason is EndReason.COMPLETED


def test_a_team_without_a_unix_user_is_refused(slurm_lab: SlurmLab) -> None:
    backend = SlurmBackend(replace(slurm_lab.settings, create_users=False))
    with pytest.raises(LaunchRefused, match="no Unix user"):
        backend.submit(make_spec("true", team=999))


def test_an_environment_comes_first_in_the_path(slurm_lab: SlurmLab) -> None:
    prefix = slurm_lab.folder / "environments" / "torch"
    (prefix / "bin").mkdir(parents=True, exist_ok=True)
    tool = prefix / "bin" / "hello"
    tool.write_text("#!/bin/sh\necho hello from $VIRTUAL_ENV\n")
    tool.chmod(0o755)
    backend = SlurmBackend(replace(slurm_lab.settings, environments=prefix.parent))
    spec = make_spec("hello", environment="torch")
    run(backend, spec)
    assert log_of(backend, spec.external_name) == f"hello from {prefix}\n".encode()
    with pytest.raises(LaunchRefused) as refused:
        backend.submit(make_spec("true", environment="../torch"))
    assert refused.value.reason is EndReason.IMAGE_MISSING


@pytest.mark.parametrize("dies", ["before", "after"])
def test_killed_while_submitting_it_runs_once(
    slurm_lab: SlurmLab, backend: SlurmBackend, tmp_path: Path, dies: str
) -> None:
    tools = FakeTools(tmp_path)
    tools.passes_on("squeue", "/usr/bin/squeue")
    tools.passes_on("sacct", "/usr/bin/sacct")
    # sbatch dies, and so does whoever called it, on either side of Slurm's yes.
    hand_in = '/usr/bin/sbatch "$@" || exit 1\n' if dies == "after" else ""
    tools.runs("sbatch", f"{hand_in}kill -9 $PPID; sleep 1")
    given = {
        "root": str(slurm_lab.root), "conf": str(slurm_lab.conf), "bin": str(tools.folder),
        "user_template": slurm_lab.user_template,
    }  # fmt: skip
    spec = make_spec("echo once")
    argv = [sys.executable, "-c", SUBMIT, json.dumps(given), spec.external_name]
    died = subprocess.run(argv, timeout=60, check=False, capture_output=True, text=True)
    assert died.returncode == -signal.SIGKILL, died.stderr

    def submitted() -> Observation | None:
        try:
            return backend.submit(spec)
        except BackendUnavailable:
            return None

    wait_for(submitted)
    assert ended(backend, spec.external_name).reason is EndReason.COMPLETED
    assert log_of(backend, spec.external_name) == b"once\n"
    names = slurm_lab.run("squeue", "-h", "-t", "all", "-o", "%j").split()
    assert names.count(spec.external_name) == 1


# ---- watching ----


def test_a_quota_of_the_cluster_is_why_it_waits(slurm_lab: SlurmLab, backend: SlurmBackend) -> None:
    slurm_lab.add_user(9, gpus_at_most=1)
    first = replace(make_spec("sleep 60", team=9), gpus=1)
    second = replace(make_spec("true", team=9), gpus=1)
    for spec in (first, second):
        backend.submit(spec)

    def waits() -> bool:
        seen = look(backend, second.external_name)
        return bool(seen and seen.wait and seen.wait.cause is WaitCause.QUOTA)

    wait_for(waits)
    for spec in (second, first):
        backend.stop(spec.external_name, grace_seconds=0)
    assert ended(backend, second.external_name).started_at is None
    assert ended(backend, first.external_name).reason is EndReason.STOPPED
    slurm_lab.add_user(9, gpus_at_most=-1)


def test_it_starts_while_slurm_says_so_and_not_before(backend: SlurmBackend) -> None:
    began = datetime.now(UTC)
    end = run(backend, make_spec("sleep 1"))
    assert end.started_at is not None
    assert end.ended_at is not None
    assert began - timedelta(seconds=1) < end.started_at
    assert timedelta(seconds=1) <= end.ended_at - end.started_at


def test_an_admins_cancellation_is_told_with_the_name(
    slurm_lab: SlurmLab, backend: SlurmBackend
) -> None:
    spec = make_spec("echo here; sleep 60")
    seen = backend.submit(spec)
    log_holds(backend, spec.external_name, b"here")
    slurm_lab.run("scancel", seen.engine_id)
    end = ended(backend, spec.external_name)
    assert (end.reason, end.detail) == (EndReason.STOPPED, "Cancelled in Slurm by root.")


def test_what_squeue_forgot_is_known_to_accounting(
    slurm_lab: SlurmLab, backend: SlurmBackend, tmp_path: Path
) -> None:
    spec = make_spec("exit 3")
    backend.submit(spec)
    wait_for(lambda: log_state(slurm_lab, spec.external_name) == "FAILED")
    tools = FakeTools(tmp_path)
    tools.passes_on("sacct", "/usr/bin/sacct")
    blind = SlurmBackend(replace(slurm_lab.settings, bin=tools.folder))
    end = ended(blind, spec.external_name)
    assert (end.reason, end.exit_code) == (EndReason.USER_ERROR, 3)


def log_state(lab: SlurmLab, name: str) -> str:
    return lab.run("squeue", "-h", "-t", "all", "-n", name, "-o", "%T").strip()


def test_a_real_queue_with_a_hostile_name_in_it_can_be_read(
    slurm_lab: SlurmLab, backend: SlurmBackend
) -> None:
    evil = "fg-evil~\n 1 | ü"
    job = slurm_lab.run("sbatch", "-H", "--parsable", "-J", evil, "-o", "/dev/null",
                        "--wrap=true").strip()  # fmt: skip
    try:
        assert run(backend, make_spec("true")).reason is EndReason.COMPLETED
    finally:
        slurm_lab.run("scancel", job)


def test_what_the_team_writes_about_its_own_run_is_not_believed(backend: SlurmBackend) -> None:
    forged = (
        "cd ..; sleep 1; rm -f started ended log; echo 1 > started; ln -s /etc/passwd log;"
        "(sleep 0.1; cd $OLDPWD) ; mkdir ended.new; exit 4"
    )
    spec = make_spec(forged)
    end = run(backend, spec)
    assert (end.reason, end.exit_code) == (EndReason.USER_ERROR, 4)
    assert end.started_at is not None
    assert end.started_at.year > 2000
    assert log_of(backend, spec.external_name) == b""


# ---- several nodes ----


def test_the_command_runs_once_on_each_node_and_they_meet(backend: SlurmBackend) -> None:
    # Nodes share a folder, so no node writes the program there that another may be reading.
    spec = replace(make_spec(f"python3 - <<'E'\n{MEETS}\nE"), nodes=2, gpus=4)
    end = run(backend, spec)
    log = log_of(backend, spec.external_name).decode().splitlines()
    assert end.reason is EndReason.COMPLETED, log
    assert sorted(log) == ["0: heard [1] gpus 0,1", "1: rank 1 of 2 met"]


def test_the_node_that_failed_first_tells_the_code_and_the_others_end(
    backend: SlurmBackend,
) -> None:
    command = '[ "$NODE_RANK" = 1 ] && exit 37; sleep 60'
    end = run(backend, replace(make_spec(command, seconds=50), nodes=2))
    assert (end.reason, end.exit_code) == (EndReason.USER_ERROR, 37)


def test_a_stop_lets_every_node_save_its_work(backend: SlurmBackend) -> None:
    command = (
        "trap 'sleep 0.3; echo saved > $FASTGPU_CHECKPOINT_DIR/$NODE_RANK; exit 0' TERM;"
        "echo ready; while true; do sleep 0.05; done"
    )
    spec = replace(make_spec(command), nodes=2, run_id=f"run-{time.time_ns()}")
    backend.submit(spec)
    wait_for(lambda: log_of(backend, spec.external_name).count(b"ready") == 2)
    backend.stop(spec.external_name, grace_seconds=10)
    assert ended(backend, spec.external_name).reason is EndReason.STOPPED
    reader = replace(make_spec("cat $FASTGPU_CHECKPOINT_DIR/[01]"), run_id=spec.run_id)
    run(backend, reader)
    assert log_of(backend, reader.external_name) == b"saved\nsaved\n"


# ---- nodes ----


def test_inventory_is_what_slurm_has(slurm_lab: SlurmLab, backend: SlurmBackend) -> None:
    nodes = backend.inventory({"partition": "gpu", "gpu_type": "a100"})
    assert [node.name for node in nodes] == slurm_lab.node_names
    assert {len(node.gpus) for node in nodes} == {8}
    assert nodes[0].gpus[3].uuid == f"lab/{slurm_lab.node_names[0]}/gpu3"
    assert nodes[0].gpus[3].model == "A100"
    assert backend.inventory({"partition": "other"}) == []


def test_gpus_in_use_are_counted_by_slurm(backend: SlurmBackend) -> None:
    spec = replace(make_spec("echo here; sleep 60"), gpus=3)
    backend.submit(spec)
    log_holds(backend, spec.external_name, b"here")
    name = wait_for(
        lambda: (look(backend, spec.external_name) or Observation("", Phase.PENDING)).node
    )
    used = {node.name: node.gpus_in_use for node in backend.inventory({})}
    assert used[name] == 3
    backend.stop(spec.external_name, grace_seconds=0)
    ended(backend, spec.external_name)


def test_a_drained_node_tells_why_and_takes_no_work(backend: SlurmBackend, node: str) -> None:
    reason = "XID 79 on gpu2: fell off the bus; a long reason that no table would show whole"
    for _ in range(2):
        backend.drain(node, reason)
    problems = {one.name: one.problem for one in backend.inventory({})}
    assert reason in problems.pop(node)
    assert set(problems.values()) == {""}
    for _ in range(2):
        backend.undrain(node)
    # Slurm has yet to hear of the node again.
    wait_for(lambda: {one.problem for one in backend.inventory({})} == {""})


def test_health_names_the_isolation_and_a_closed_partition(
    slurm_lab: SlurmLab, backend: SlurmBackend
) -> None:
    assert backend.health({"partition": "gpu"}).isolation == "Slurm, Unix user per team"
    assert "nowhere" in backend.health({"partition": "nowhere"}).detail
    slurm_lab.run("scontrol", "update", "partition=gpu", "state=down")
    try:
        health = backend.health({"partition": "gpu"})
    finally:
        slurm_lab.run("scontrol", "update", "partition=gpu", "state=up")
    assert (health.may_start, health.detail) == (False, "partition gpu is down")


# ---- capabilities ----


def test_an_array_is_one_job_of_many_tasks(slurm_lab: SlurmLab, backend: SlurmBackend) -> None:
    spec = make_spec("echo task $FASTGPU_ARRAY_INDEX; exit $FASTGPU_ARRAY_INDEX")
    seen = backend.submit_array(spec, size=3, at_once=2)
    names = [one.external_name for one in seen]
    assert names == [f"{spec.external_name}.{index}" for index in range(3)]
    assert [ended(backend, name).exit_code for name in names] == [0, 1, 2]
    assert log_of(backend, names[2]) == b"task 2\n"
    assert len({one.engine_id.partition("_")[0] for one in seen}) == 1


def test_a_task_of_an_array_is_stopped_alone(backend: SlurmBackend) -> None:
    spec = make_spec("echo here; sleep 60")
    first, second = backend.submit_array(spec, size=2, at_once=1)
    log_holds(backend, first.external_name, b"here")
    backend.stop(second.external_name, grace_seconds=0)
    assert ended(backend, second.external_name).reason is EndReason.STOPPED
    assert running(backend, first.external_name, 20).ended_at is None
    backend.stop(first.external_name, grace_seconds=0)
    assert ended(backend, first.external_name).reason is EndReason.STOPPED


def test_of_two_that_wait_the_one_of_higher_priority_goes_first(
    slurm_lab: SlurmLab, backend: SlurmBackend
) -> None:
    slurm_lab.add_user(9, gpus_at_most=1)
    blocker = replace(make_spec("echo here; sleep 60", team=9), gpus=1)
    backend.submit(blocker)
    log_holds(backend, blocker.external_name, b"here")
    waiting = [replace(make_spec("date +%s.%N", team=9), gpus=1) for _ in range(2)]
    for spec, priority in zip(waiting, (10, 20_000), strict=True):
        backend.submit(spec)
        wait_for(lambda spec=spec: look(backend, spec.external_name))  # type: ignore[misc]
        backend.set_priority(spec.external_name, priority)
    backend.stop(blocker.external_name, grace_seconds=0)
    for spec in waiting:
        ended(backend, spec.external_name)
    low, high = (float(log_of(backend, spec.external_name)) for spec in waiting)
    slurm_lab.add_user(9, gpus_at_most=-1)
    assert high < low


def test_nodes_are_set_aside_for_a_team(slurm_lab: SlurmLab, backend: SlurmBackend) -> None:
    start = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    wanted = Reservation(
        "course", tuple(slurm_lab.node_names[:2]), 7, start, start + timedelta(hours=2)
    )
    try:
        for _ in range(2):
            backend.reserve(wanted)
        assert backend.reservations() == [wanted]
        with pytest.raises(LaunchRefused):
            backend.reserve(replace(wanted, name="other", team_number=8))
    finally:
        for _ in range(2):
            backend.release("course")
    assert backend.reservations() == []


def test_one_survey_tells_of_what_runs_and_what_never_was(backend: SlurmBackend) -> None:
    spec = make_spec("true")
    backend.submit(spec)
    survey = backend.observe([Handle(spec.external_name), Handle("fg-never"), Handle("../x")])
    assert set(survey.seen) <= {spec.external_name}
    ended(backend, spec.external_name)
