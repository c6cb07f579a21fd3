"""A terminal in an attempt that runs on a cluster, whatever runs there."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import cast

import pytest
from websockets.exceptions import ConnectionClosed

from clusters.backends.base import BackendError
from clusters.backends.slurm.backend import SlurmBackend
from tests.clusters.backends.browser import looking
from tests.contracts.backend import log_holds, log_of, make_spec, run
from tests.contracts.terminal import JOB, TerminalContract, TerminalEngine, opened, started
from tests.slurm.lab import SlurmLab
from tests.stacks.environments import OURS, prepared

pytestmark = pytest.mark.slurm


@pytest.fixture
def backend(slurm_lab: SlurmLab) -> SlurmBackend:
    """With an environment that has the tools."""
    return SlurmBackend(replace(slurm_lab.settings, environments=prepared("tools", OURS)))


@pytest.fixture
def engine(backend: SlurmBackend) -> TerminalEngine:
    """The same, as the contract calls it."""
    return cast(TerminalEngine, backend)


@pytest.fixture
def job(engine: TerminalEngine) -> Iterator[str]:
    """An attempt that runs on two GPUs; ended afterwards."""
    name = started(engine, gpus=2)
    yield name
    engine.stop(name, grace_seconds=0)


class TestTerminal(TerminalContract):
    """In jobs of one node."""

    @pytest.fixture
    def engine(self, backend: SlurmBackend) -> TerminalEngine:
        return cast(TerminalEngine, backend)

    @pytest.fixture
    def servers(self, slurm_lab: SlurmLab) -> Callable[[str], list[int]]:
        return lambda name: [int(line.split()[0]) for line in servers(slurm_lab, name)]


def servers(lab: SlurmLab, name: str) -> list[str]:
    """Ids and command lines of what serves an attempt's terminal: for everybody to see."""
    ps = ["ps", "-eww", "-o", "pid,args"]
    said = subprocess.run(ps, capture_output=True, text=True, check=True).stdout
    place = f"{lab.root}/attempts/{name}/"
    return [line for line in said.splitlines() if "--word" in line and place in line]


def test_its_shell_is_to_the_node_what_the_command_is(engine: TerminalEngine, job: str) -> None:
    with looking(opened(engine, job)) as browser:
        assert len(browser.asks("echo $CUDA_VISIBLE_DEVICES").split(",")) == 2
        command = browser.asks(f"pgrep -of {job}/in/command").strip()
        facts = "cat /proc/%s/cgroup; grep -E '^(Uid|Gid|Cap|NoNew)' /proc/%s/status; "
        facts += "grep -E 'processes|core' /proc/%s/limits"
        assert browser.asks(facts % (("self",) * 3)) == browser.asks(facts % ((command,) * 3))
        variables = f"tr '\\0' '\\n' < /proc/{command}/environ | grep ^FASTGPU_ | sort"
        assert browser.asks("env | grep ^FASTGPU_ | sort") == browser.asks(variables)


def test_another_process_of_the_portal_finds_the_same(
    engine: TerminalEngine, backend: SlurmBackend, job: str
) -> None:
    endpoint = opened(engine, job)
    assert SlurmBackend(backend._settings).endpoint(job, "terminal") == endpoint


def test_each_server_has_a_token_of_its_own(engine: TerminalEngine, job: str) -> None:
    before = opened(engine, job)
    with looking(before) as browser:
        browser.type("kill -9 $PPID\r")
        with pytest.raises(ConnectionClosed):
            browser.sees("never")
    assert opened(engine, job).token != before.token


def test_its_token_is_the_teams_and_the_portals(
    engine: TerminalEngine, backend: SlurmBackend, job: str, slurm_lab: SlurmLab
) -> None:
    endpoint = opened(engine, job)
    (seen,) = servers(slurm_lab, job)
    assert endpoint.token not in seen
    folder = slurm_lab.root / "attempts" / job
    spy = make_spec(f"cat {folder}/in/terminal {folder}/terminal", team=8)
    run(backend, spy)
    assert log_of(backend, spy.external_name).count(b"Permission denied") == 2
    with looking(endpoint) as browser:
        assert browser.asks("env | grep -c TERMINAL") == "0\n"


def test_a_port_that_nobody_asked_for_is_no_terminal(
    engine: TerminalEngine, slurm_lab: SlurmLab
) -> None:
    says = 'echo \'{"port": 8080, "word": "x", "is_new": true}\' > ../terminal'
    name = started(engine, f"{says}; echo ready; sleep 60")
    assert engine.endpoint(name, "terminal") is None
    engine.stop(name, grace_seconds=0)


def test_work_on_several_nodes_has_one_on_the_first(
    engine: TerminalEngine, backend: SlurmBackend
) -> None:
    spec = make_spec("[ $NODE_RANK = 1 ] || echo ready; sleep 60", seconds=100)
    spec = replace(spec, nodes=2, gpus=2)
    backend.submit(spec)
    log_holds(backend, spec.external_name, b"0: ready\n")
    with looking(opened(engine, spec.external_name)) as browser:
        said = browser.asks("echo $SLURMD_NODENAME; scontrol show hostnames $SLURM_JOB_NODELIST")
    backend.stop(spec.external_name, grace_seconds=0)
    here, *nodes = said.split()
    assert here == nodes[0]


def test_each_task_of_an_array_has_its_own(engine: TerminalEngine, backend: SlurmBackend) -> None:
    spec = make_spec(JOB, seconds=100)
    backend.submit_array(spec, size=2, at_once=2)
    names = [f"{spec.external_name}.{index}" for index in range(2)]
    for name in names:
        log_holds(backend, name, b"ready\n")
    for index, name in enumerate(names):
        with looking(opened(engine, name)) as browser:
            assert browser.asks("echo $FASTGPU_ARRAY_INDEX") == f"{index}\n"
    for name in names:
        backend.stop(name, grace_seconds=0)


def test_without_tools_it_says_what_to_build(
    engine: TerminalEngine, slurm_lab: SlurmLab, job: str
) -> None:
    opened(engine, job)
    with pytest.raises(BackendError, match="build_environments tools"):
        SlurmBackend(slurm_lab.settings).open_terminal(job)
