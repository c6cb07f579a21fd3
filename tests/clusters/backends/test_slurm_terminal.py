"""A terminal in an attempt that runs on a cluster, whatever runs there."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from clusters.backends.base import BackendError, Endpoint, EndReason, LaunchSpec
from clusters.backends.slurm.backend import SlurmBackend
from tests.clusters.backends.browser import looking
from tests.contracts.backend import ended, log_holds, log_of, make_spec, run, wait_for
from tests.slurm.lab import SlurmLab
from tests.stacks.environments import OURS, prepared

pytestmark = pytest.mark.slurm
JOB = "trap 'echo saved; exit 3' TERM; echo ready; while :; do sleep 0.1; done"


@pytest.fixture
def backend(slurm_lab: SlurmLab) -> SlurmBackend:
    """With an environment that has the tools."""
    return SlurmBackend(replace(slurm_lab.settings, environments=prepared("tools", OURS)))


@pytest.fixture
def job(backend: SlurmBackend) -> Iterator[LaunchSpec]:
    """An attempt that runs; ended afterwards."""
    spec = replace(make_spec(JOB, env={"COLOUR": "blue and green"}, seconds=100), gpus=2)
    yield started(backend, spec)
    backend.stop(spec.external_name, grace_seconds=0)


def started(backend: SlurmBackend, spec: LaunchSpec) -> LaunchSpec:
    """The same, once it has said `ready`."""
    backend.submit(spec)
    log_holds(backend, spec.external_name, b"ready\n")
    return spec


def opened(backend: SlurmBackend, name: str) -> Endpoint:
    """Ask for a terminal; where it is."""
    wait_for(lambda: may_open(backend, name))
    endpoint = backend.endpoint(name, "terminal")
    assert endpoint is not None
    return endpoint


def may_open(backend: SlurmBackend, name: str) -> bool:
    """Slurm is asked once a second only, so it may not be known yet that it runs."""
    try:
        backend.open_terminal(name)
    except BackendError as error:
        if "Only what runs" in str(error):
            return False
        raise
    return True


def servers(lab: SlurmLab, name: str) -> list[str]:
    """Command lines of the terminals' servers of an attempt, which everybody can see."""
    ps = ["ps", "-eww", "-o", "args"]
    said = subprocess.run(ps, capture_output=True, text=True, check=True).stdout
    place = f"{lab.root}/attempts/{name}/"
    return [line for line in said.splitlines() if "--word" in line and place in line]


def test_its_shell_is_to_the_node_what_the_command_is(
    backend: SlurmBackend, job: LaunchSpec
) -> None:
    with looking(opened(backend, job.external_name)) as browser:
        assert browser.asks("echo $COLOUR; pwd") == "blue and green\n" + browser.asks("echo ~")
        assert len(browser.asks("echo $CUDA_VISIBLE_DEVICES").split(",")) == 2
        command = browser.asks("pgrep -u $UID -of in/command").strip()
        facts = "cat /proc/%s/cgroup; grep -E '^(Uid|Gid|Cap|NoNew)' /proc/%s/status; "
        facts += "grep -E 'processes|core' /proc/%s/limits"
        assert browser.asks(facts % (("self",) * 3)) == browser.asks(facts % ((command,) * 3))
        variables = f"tr '\\0' '\\n' < /proc/{command}/environ | grep ^FASTGPU_ | sort"
        assert browser.asks("env | grep ^FASTGPU_ | sort") == browser.asks(variables)


def test_the_log_and_the_exit_code_are_the_commands(
    backend: SlurmBackend, slurm_lab: SlurmLab
) -> None:
    spec = make_spec("echo ready; until [ -e go ]; do sleep 0.05; done; exit 5")
    name = started(backend, spec).external_name
    with looking(opened(backend, name)) as browser:
        browser.type("trap '' TERM HUP; sleep 600 & touch go\r")
        end = ended(backend, name)
    assert (end.reason, end.exit_code) == (EndReason.USER_ERROR, 5)
    assert log_of(backend, name) == b"ready\n"
    assert backend.endpoint(name, "terminal") is None
    wait_for(lambda: not servers(slurm_lab, name))


def test_it_does_not_hold_up_a_stop(backend: SlurmBackend, job: LaunchSpec) -> None:
    with looking(opened(backend, job.external_name)) as browser:
        assert browser.asks("echo $((6 * 7))") == "42\n"
        begun = time.monotonic()
        backend.stop(job.external_name, grace_seconds=60)
        end = ended(backend, job.external_name)
    assert time.monotonic() - begun < 40
    assert end.reason is EndReason.STOPPED
    assert b"saved" in log_of(backend, job.external_name)


def test_an_attempt_that_was_never_asked_runs_nothing_for_it(
    backend: SlurmBackend, job: LaunchSpec, slurm_lab: SlurmLab
) -> None:
    assert servers(slurm_lab, job.external_name) == []
    assert backend.endpoint(job.external_name, "terminal") is None


def test_asking_again_starts_no_second_one(
    backend: SlurmBackend, job: LaunchSpec, slurm_lab: SlurmLab
) -> None:
    endpoint = opened(backend, job.external_name)
    with looking(endpoint) as browser:
        pid = browser.asks("echo $$")
        # Another process of the portal.
        other = SlurmBackend(backend._settings)
        assert opened(other, job.external_name) == endpoint
        with looking(endpoint) as second:
            assert second.asks("echo $$") == pid
        wait_for(lambda: len(servers(slurm_lab, job.external_name)) == 1)


def test_one_that_was_killed_is_started_again_with_another_token(
    backend: SlurmBackend, job: LaunchSpec
) -> None:
    before = opened(backend, job.external_name)
    with looking(before) as browser:
        browser.type("old=1; kill -9 $PPID\r")
        with pytest.raises(ConnectionClosed):
            browser.sees("never")
    after = opened(backend, job.external_name)
    assert after.token != before.token
    with looking(after) as browser:
        assert browser.asks("echo $((old + 41))") == "41\n"


def test_only_who_knows_its_token_is_let_in(
    backend: SlurmBackend, job: LaunchSpec, slurm_lab: SlurmLab
) -> None:
    endpoint = opened(backend, job.external_name)
    with pytest.raises(InvalidStatus), looking(endpoint, token="guess"):
        pass
    assert endpoint.token not in "".join(servers(slurm_lab, job.external_name))
    folder = slurm_lab.root / "attempts" / job.external_name
    spy = make_spec(f"cat {folder}/in/terminal {folder}/terminal", team=8)
    run(backend, spy)
    assert log_of(backend, spy.external_name).count(b"Permission denied") == 2
    with looking(endpoint) as browser:
        assert browser.asks("env | grep -c TERMINAL") == "0\n"


def test_what_an_attempt_says_of_another_port_is_not_believed_for_another_token(
    backend: SlurmBackend, job: LaunchSpec
) -> None:
    name = job.external_name
    place = Path(f"{backend._settings.root}/attempts/{name}/starts/0")
    (place / "terminal").write_text('{"port": 8080, "word": "x"}')
    assert backend.endpoint(name, "terminal") is None


def test_work_on_several_nodes_has_one_on_the_first(backend: SlurmBackend) -> None:
    spec = make_spec("[ $NODE_RANK = 1 ] || echo ready; sleep 60", seconds=100)
    spec = replace(spec, nodes=2, gpus=2)
    backend.submit(spec)
    log_holds(backend, spec.external_name, b"0: ready\n")
    with looking(opened(backend, spec.external_name)) as browser:
        said = browser.asks("echo $SLURMD_NODENAME; scontrol show hostnames $SLURM_JOB_NODELIST")
    backend.stop(spec.external_name, grace_seconds=0)
    here, *nodes = said.split()
    assert here == nodes[0]


def test_each_task_of_an_array_has_its_own(backend: SlurmBackend) -> None:
    spec = make_spec(JOB, seconds=100)
    backend.submit_array(spec, size=2, at_once=2)
    names = [f"{spec.external_name}.{index}" for index in range(2)]
    for name in names:
        log_holds(backend, name, b"ready\n")
    for index, name in enumerate(names):
        with looking(opened(backend, name)) as browser:
            assert browser.asks("echo $FASTGPU_ARRAY_INDEX") == f"{index}\n"
    for name in names:
        backend.stop(name, grace_seconds=0)


def test_without_tools_it_says_what_to_build(slurm_lab: SlurmLab, job: LaunchSpec) -> None:
    bare = SlurmBackend(slurm_lab.settings)
    wait_for(lambda: bare._servers.node_of(bare._folders.load(job.external_name)))  # type: ignore[arg-type]
    with pytest.raises(BackendError, match="build_environments tools"):
        bare.open_terminal(job.external_name)


@pytest.mark.parametrize("name", ["fg-never", "../fg-x"])
def test_what_does_not_run_has_none(backend: SlurmBackend, name: str) -> None:
    with pytest.raises(BackendError, match="Only what runs"):
        backend.open_terminal(name)
