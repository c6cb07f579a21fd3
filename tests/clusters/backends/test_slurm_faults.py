"""The Slurm backend when nodes, the controller or slurmrestd go away, on a real Slurm."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from clusters.backends.base import (
    BackendUnavailable,
    EndReason,
    Handle,
    LaunchSpec,
    Observation,
    Phase,
    WaitCause,
)
from clusters.backends.slurm.backend import SlurmBackend
from clusters.backends.slurm.survey import RESTART_SECONDS
from tests.contracts.backend import (
    ended,
    log_holds,
    log_of,
    look,
    make_spec,
    run,
    running,
    wait_for,
)
from tests.slurm.lab import SlurmLab

pytestmark = pytest.mark.slurm
SAVES = (
    "echo attempt $FASTGPU_ATTEMPT found $(cat $FASTGPU_CHECKPOINT_DIR/step 2>/dev/null);"
    "echo $FASTGPU_ATTEMPT > $FASTGPU_CHECKPOINT_DIR/step; echo saved; sleep 100"
)


@pytest.fixture
def backend(slurm_lab: SlurmLab) -> SlurmBackend:
    return SlurmBackend(slurm_lab.settings)


@pytest.fixture
def lab(slurm_lab: SlurmLab) -> Iterator[SlurmLab]:
    """The lab, whole again afterwards."""
    yield slurm_lab
    slurm_lab.heal()


def next_attempt(spec: LaunchSpec) -> LaunchSpec:
    """What the portal submits after `spec` was lost."""
    return replace(
        spec,
        external_name=f"{spec.external_name}-next",
        attempt_number=spec.attempt_number + 1,
        previous_name=spec.external_name,
    )


def lost(backend: SlurmBackend, name: str) -> Observation:
    """Its end, which Slurm takes up to half a minute to notice."""

    def look_for_end() -> Observation | None:
        seen = look(backend, name)
        return seen if seen and seen.phase is Phase.ENDED else None

    found = wait_for(look_for_end, 60)
    assert found is not None
    return found


def number_of(lab: SlurmLab, node: str) -> int:
    return lab.node_names.index(node) + 1


def test_a_dead_node_ends_the_attempt_and_the_next_goes_on_elsewhere(
    lab: SlurmLab, backend: SlurmBackend
) -> None:
    spec = replace(make_spec(SAVES, seconds=300), run_id="run-dead-node")
    backend.submit(spec)
    log_holds(backend, spec.external_name, b"saved")
    node = running(backend, spec.external_name).node
    lab.kill_node(number_of(lab, node))

    end = lost(backend, spec.external_name)
    assert (end.reason, end.node) == (EndReason.NODE_LOST, node)
    assert end.started_at is not None
    assert end.ended_at is not None

    second = next_attempt(spec)
    backend.submit(second)
    assert running(backend, second.external_name).node != node
    log_holds(backend, second.external_name, b"saved")
    assert log_of(backend, second.external_name) == b"attempt 3 found 2\nsaved\n"
    assert log_of(backend, spec.external_name) == b"attempt 2 found\nsaved\n"
    backend.stop(spec.external_name, grace_seconds=0)
    assert running(backend, second.external_name).engine_id == end.engine_id
    backend.stop(second.external_name, grace_seconds=0)
    assert ended(backend, second.external_name).reason is EndReason.STOPPED


def test_of_two_starts_of_one_job_the_earlier_is_killed(
    lab: SlurmLab, backend: SlurmBackend
) -> None:
    beats = "while true; do date +%s%N > $FASTGPU_CHECKPOINT_DIR/$FASTGPU_ATTEMPT; sleep 0.1; done"
    spec = replace(make_spec(f"echo saved; {beats}", seconds=300), run_id="run-split-brain")
    backend.submit(spec)
    log_holds(backend, spec.external_name, b"saved")
    number = number_of(lab, running(backend, spec.external_name).node)
    # Slurm hears nothing of the node any more, while its work goes on.
    lab.hang_node(number)
    lab.down_node(number)
    lost(backend, spec.external_name)
    second = next_attempt(spec)
    backend.submit(second)
    running(backend, second.external_name)
    log_holds(backend, second.external_name, b"saved")
    beat = lab.root / "checkpoints" / f"{spec.team_number}-{spec.run_id}" / "2"

    def is_still() -> bool:
        before = beat.read_text()
        time.sleep(0.5)
        return beat.read_text() == before

    wait_for(is_still)
    assert running(backend, second.external_name).node
    backend.stop(second.external_name, grace_seconds=0)
    assert ended(backend, second.external_name).reason is EndReason.STOPPED


def test_a_job_restarted_while_the_portal_was_away_keeps_its_attempts_apart(
    lab: SlurmLab, backend: SlurmBackend
) -> None:
    spec = replace(make_spec(SAVES, seconds=300), run_id="run-portal-away")
    seen = backend.submit(spec)
    log_holds(backend, spec.external_name, b"saved")
    lab.run("scontrol", "requeue", seen.engine_id)

    def is_in_state(state: str) -> bool:
        return lab.restarts(seen.engine_id) == 1 and state in lab.job_state(seen.engine_id)

    requeued_at = time.time()

    def runs_again() -> bool:
        # Not in the second of the requeue: its node would refuse what it was just told to end.
        # More than once: Slurm puts it off anew when the node it ran on is clean.
        if is_in_state("PENDING") and time.time() > requeued_at + RESTART_SECONDS:
            lab.run("scontrol", "update", f"jobid={seen.engine_id}", "starttime=now", check=False)
        return is_in_state("RUNNING")

    wait_for(runs_again, 30)

    assert lost(backend, spec.external_name).reason is EndReason.NODE_LOST
    second = next_attempt(spec)
    backend.submit(second)
    running(backend, second.external_name)
    log_holds(backend, second.external_name, b"saved")
    assert log_of(backend, second.external_name) == b"attempt 3 found 2\nsaved\n"
    survey = backend.observe([Handle(second.external_name)])
    assert spec.external_name not in survey.strays
    backend.stop(second.external_name, grace_seconds=0)
    assert ended(backend, second.external_name).reason is EndReason.STOPPED


def test_stopping_what_was_put_back_takes_it_out_of_the_queue(
    lab: SlurmLab, backend: SlurmBackend
) -> None:
    spec = replace(make_spec(SAVES, seconds=300), run_id="run-put-back")
    seen = backend.submit(spec)
    log_holds(backend, spec.external_name, b"saved")
    lab.run("scontrol", "requeue", seen.engine_id)
    lost(backend, spec.external_name)
    wait_for(lambda: spec.external_name in backend.observe([]).strays)
    backend.stop(spec.external_name, grace_seconds=0)
    wait_for(lambda: spec.external_name not in backend.observe([]).strays)
    assert "CANCELLED" in lab.job_state(seen.engine_id)


def test_one_that_gives_way_to_higher_priority_is_preempted(
    lab: SlurmLab, backend: SlurmBackend
) -> None:
    lab.allow_preemption("urgent")
    gpus = 8 * len(lab.node_names)
    whole = replace(make_spec("sleep 100", team=8, seconds=300), gpus=gpus)
    whole = replace(whole, nodes=len(lab.node_names), run_id="run-low")
    backend.submit(whole)
    running(backend, whole.external_name)
    urgent = replace(make_spec("echo urgent", team=9), gpus=8, options={"qos": "urgent"})
    assert run(backend, urgent).reason is EndReason.COMPLETED
    assert lost(backend, whole.external_name).reason is EndReason.PREEMPTED
    backend.stop(whole.external_name, grace_seconds=0)


@pytest.mark.parametrize("rest_url", ["the lab's", ""])
def test_without_a_usable_node_it_is_taken_and_waits(lab: SlurmLab, rest_url: str) -> None:
    backend = SlurmBackend(replace(lab.settings, rest_url=rest_url and lab.rest_url))
    for name in lab.node_names:
        backend.drain(name, "all away")
    spec = replace(make_spec("true"), gpus=1)
    backend.submit(spec)

    def waits() -> bool:
        seen = look(backend, spec.external_name)
        return bool(seen and seen.wait and seen.wait.cause is WaitCause.NODES_AWAY)

    wait_for(waits)
    for name in lab.node_names:
        backend.undrain(name)
    assert ended(backend, spec.external_name).reason is EndReason.COMPLETED


def test_without_the_controller_nothing_is_known_and_then_all_is(
    lab: SlurmLab, backend: SlurmBackend
) -> None:
    spec, late = make_spec("echo here; sleep 3", seconds=60), make_spec("echo late")
    backend.submit(spec)
    log_holds(backend, spec.external_name, b"here")
    lab.wait_until_saved()
    lab.kill_controller()
    with pytest.raises(BackendUnavailable):
        SlurmBackend(lab.settings).observe([Handle(spec.external_name)])
    with pytest.raises(BackendUnavailable):
        backend.submit(late)
    with pytest.raises(BackendUnavailable):
        backend.stop(spec.external_name, grace_seconds=0)
    assert not backend.health({}).may_start
    lab.start_controller()
    wait_for(lambda: backend.health({}).may_start, 30)

    def submitted() -> bool:
        try:
            backend.submit(late)
        except BackendUnavailable:
            return False
        return True

    wait_for(submitted, 30)
    assert lost(backend, late.external_name).reason is EndReason.COMPLETED
    assert lost(backend, spec.external_name).phase is Phase.ENDED
    assert log_of(backend, late.external_name) == b"late\n"


def test_without_slurmrestd_sbatch_is_used(lab: SlurmLab, backend: SlurmBackend) -> None:
    lab.kill_rest()
    assert run(backend, make_spec("true")).reason is EndReason.COMPLETED


def waiting(command: str) -> LaunchSpec:
    """A run that does this once the test lets it go on."""
    waits = "echo up; until [ -e $FASTGPU_CHECKPOINT_DIR/go ]; do sleep 0.05; done"
    spec = make_spec(f"{waits}; {command}", seconds=400)
    return replace(spec, run_id=f"run-{time.time_ns()}")


def ends_unheard(lab: SlurmLab, backend: SlurmBackend, spec: LaunchSpec) -> tuple[float, int]:
    """Let it end while the controller is away: when it says that it did, and on which node."""
    backend.submit(spec)
    log_holds(backend, spec.external_name, b"up")
    node = number_of(lab, running(backend, spec.external_name).node)
    lab.wait_until_saved()
    lab.kill_controller()
    (backend.folders_of(spec.external_name)["checkpoints"] / "go").touch()
    printed = wait_for(lambda: log_of(backend, spec.external_name).splitlines()[1:], 30)
    return float(printed[0]), node


def test_what_ended_in_the_absence_of_the_controller_is_not_run_again(
    lab: SlurmLab, backend: SlurmBackend
) -> None:
    count = "echo run >> $FASTGPU_CHECKPOINT_DIR/runs"
    spec = waiting(f"{count}; date +%s.%N")
    real, node = ends_unheard(lab, backend, spec)
    # Of what is told of its end when the controller is back, its node may lose the race.
    lab.silence_work(node)
    wait_for(lambda: time.time() - real > 17, 30)
    lab.start_controller()

    end = lost(backend, spec.external_name)
    assert (end.reason, end.exit_code) == (EndReason.COMPLETED, 0)
    assert end.ended_at is not None
    assert -1 <= end.ended_at.timestamp() - real <= 1
    wait_for(lambda: lab.job_state(end.engine_id) == "CANCELLED", 30)
    runs = backend.folders_of(spec.external_name)["checkpoints"] / "runs"
    assert runs.read_text() == "run\n"


def test_an_end_in_the_absence_of_the_controller_is_charged_until_that_end(
    lab: SlurmLab, backend: SlurmBackend
) -> None:
    spec = waiting("date +%s.%N")
    real, _ = ends_unheard(lab, backend, spec)
    wait_for(lambda: time.time() - real > 17, 30)
    lab.start_controller()

    end = lost(backend, spec.external_name)
    assert end.reason is EndReason.COMPLETED
    assert end.ended_at is not None
    assert -1 <= end.ended_at.timestamp() - real <= 1
