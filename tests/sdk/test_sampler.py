"""Virtual GPUs are measured from the processes placed on them."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from clusters.backends.base import Handle, LaunchSpec, Limits, Phase
from clusters.backends.local import gpus
from clusters.backends.local.backend import LocalBackend
from clusters.backends.local.settings import LocalSettings
from fastgpu.agent.readings import GpuReading
from fastgpu.agent.sampler import Sampler, virtual_uuids
from fastgpu.agent.usage import UsageMeter
from tests.sdk.places import GPU, OTHER_GPU, Worker, place, sample_until

MIB = 1024**2


def is_busy(uuid: str = GPU) -> Callable[[dict[str, GpuReading]], bool]:
    return lambda found: uuid in found and (found[uuid].utilization_percent or 0) > 5


def is_idle(found: dict[str, GpuReading]) -> bool:
    percent = found[GPU].utilization_percent
    return percent is not None and percent < 2


def test_use_rises_while_the_tree_works_and_falls_when_it_rests(
    tmp_path: Path, worker: Worker
) -> None:
    place(tmp_path, "fg-a-1", worker)
    sampler = Sampler(tmp_path)
    worker.do("busy")
    sample_until(sampler, is_busy())
    worker.do("idle")
    sample_until(sampler, is_idle)


def test_the_first_sample_has_no_rate_yet(tmp_path: Path, worker: Worker) -> None:
    place(tmp_path, "fg-a-1", worker)
    worker.do("busy")
    [reading] = Sampler(tmp_path).sample()
    assert reading.utilization_percent is None
    assert reading.external_names == ("fg-a-1",)


def test_memory_follows_an_allocation(tmp_path: Path, worker: Worker) -> None:
    place(tmp_path, "fg-a-1", worker)
    worker.do("0")
    sampler = Sampler(tmp_path)
    before = sampler.sample()[0].memory_used_bytes
    worker.do(str(64 * MIB))
    after = sampler.sample()[0].memory_used_bytes
    assert before is not None
    assert after is not None
    assert 60 * MIB < after - before < 80 * MIB


def test_memory_is_split_evenly_over_the_gpus_of_an_attempt(tmp_path: Path, worker: Worker) -> None:
    worker.do(str(32 * MIB))
    place(tmp_path / "one", "fg-a-1", worker)
    place(tmp_path / "two", "fg-a-1", worker, gpus=[GPU, OTHER_GPU])
    [whole] = Sampler(tmp_path / "one").sample()
    first, second = Sampler(tmp_path / "two").sample()
    assert whole.memory_used_bytes is not None
    assert first.memory_used_bytes == second.memory_used_bytes
    assert first.memory_used_bytes == pytest.approx(whole.memory_used_bytes / 2, rel=0.05)


def test_a_virtual_gpu_has_neither_power_nor_temperature(tmp_path: Path, worker: Worker) -> None:
    place(tmp_path, "fg-a-1", worker)
    [reading] = Sampler(tmp_path).sample()
    assert (reading.power_watts, reading.temperature_celsius, reading.pids) == (None, None, None)


def test_nothing_placed_is_measured_as_nothing_used(tmp_path: Path) -> None:
    readings = Sampler(tmp_path / "attempts", virtual_gpus=2).sample()
    assert [(r.utilization_percent, r.memory_used_bytes) for r in readings] == [(0.0, 0)] * 2


def test_idle_gpus_carry_the_uuids_of_the_local_backend(tmp_path: Path) -> None:
    theirs = [gpu.description.uuid for gpu in gpus.virtual(tmp_path, 3)]
    assert virtual_uuids(tmp_path / "attempts", 3) == theirs


def test_an_attempt_that_died_without_a_word_holds_nothing(tmp_path: Path, worker: Worker) -> None:
    place(tmp_path, "fg-a-1", worker)
    worker.end()
    assert Sampler(tmp_path).sample() == []


def test_a_recycled_pid_is_not_measured(tmp_path: Path, worker: Worker) -> None:
    worker.create_time -= 3600
    place(tmp_path, "fg-a-1", worker)
    assert Sampler(tmp_path).sample() == []


def test_an_ended_attempt_is_not_looked_at_again(tmp_path: Path, worker: Worker) -> None:
    attempt = place(tmp_path, "fg-a-1", worker)
    (attempt / "placement.json").rename(tmp_path / "kept.json")
    (attempt / "state.json").write_text(json.dumps({"ended_at": 1.0}))
    sampler = Sampler(tmp_path)
    assert sampler.sample() == []
    (tmp_path / "kept.json").rename(attempt / "placement.json")
    assert sampler.sample() == []


def test_an_unreadable_placement_is_said_once_and_leaves_the_others(
    tmp_path: Path, worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    (place(tmp_path, "fg-a-1", worker) / "placement.json").write_text("[]")
    place(tmp_path, "fg-b-1", worker)
    sampler = Sampler(tmp_path)
    with caplog.at_level(logging.WARNING):
        sampler.sample()
        [reading] = sampler.sample()
    assert reading.external_names == ("fg-b-1",)
    assert len(caplog.records) == 1


CGROUPS = {
    "v1": ({"cpuacct.usage": "2000000000\n"}, {"memory.stat": "total_rss 300\ntotal_shmem 40\n"}),
    "v2": ({"cpu.stat": "usage_usec 2000000\n"}, {"memory.stat": "anon 300\nfile 9\nshmem 40\n"}),
}


@pytest.mark.parametrize("version", CGROUPS)
def test_cgroup_counters_go_before_the_process_tree(
    tmp_path: Path, worker: Worker, version: str
) -> None:
    group = tmp_path / "cgroup"
    group.mkdir()
    for files in CGROUPS[version]:
        for name, text in files.items():
            (group / name).write_text(text)
    names = ["cpuacct", "memory"] if version == "v1" else ["unified"]
    place(tmp_path / "places", "fg-a-1", worker, cgroups=dict.fromkeys(names, str(group)))
    [reading] = Sampler(tmp_path / "places").sample()
    assert reading.memory_used_bytes == 340


def test_use_is_a_share_of_all_cores_and_never_above_100(tmp_path: Path, worker: Worker) -> None:
    (tmp_path / "cpuacct.usage").write_text("0")
    place(tmp_path, "fg-a-1", worker, cgroups={"cpuacct": str(tmp_path)})
    sampler = Sampler(tmp_path)
    sampler.sample()
    (tmp_path / "cpuacct.usage").write_text(str(10**15))
    assert sampler.sample()[0].utilization_percent == 100.0


def test_cores_divide_the_rate(tmp_path: Path, worker: Worker) -> None:
    from fastgpu.agent.placements import Placements

    place(tmp_path, "fg-a-1", worker, cgroups={"cpuacct": str(tmp_path)})
    placed = Placements(tmp_path).read()
    few, many = UsageMeter(1_000_000), UsageMeter(4_000_000)
    (tmp_path / "cpuacct.usage").write_text("0")
    few.measure(placed)
    many.measure(placed)
    (tmp_path / "cpuacct.usage").write_text(str(10**13))
    rates = [meter.measure(placed)["fg-a-1"].cpu_percent for meter in (few, many)]
    assert rates[0] is not None
    assert rates[1] is not None
    assert rates[0] > rates[1] > 0


@pytest.mark.sandbox
def test_a_sandboxed_attempt_of_the_local_backend_is_measured(tmp_path: Path) -> None:
    backend = LocalBackend(
        LocalSettings(
            root=tmp_path,
            environments=tmp_path / "environments",
            virtual_gpus=1,
            allow_insecure=False,
            uid_base=210_000,
        )
    )
    [uuid] = [gpu.uuid for node in backend.inventory({}) for gpu in node.gpus]
    backend.submit(
        LaunchSpec(
            external_name="fg-measured-1",
            run_id="job_measured",
            attempt_number=1,
            team_number=1,
            gpus=1,
            gpu_uuids=(uuid,),
            environment="system",
            command="while :; do :; done",
            time_limit_seconds=60,
            grace_seconds=1,
            network=False,
            limits=Limits(256 * MIB, 64, 1.0, 16 * MIB, MIB),
        )
    )
    try:
        found = sample_until(Sampler(tmp_path / "attempts"), is_busy(uuid))
        assert found[uuid].external_names == ("fg-measured-1",)
        assert (found[uuid].memory_used_bytes or 0) > 100_000
    finally:
        backend.stop("fg-measured-1", grace_seconds=0)
        sample_until(
            Sampler(tmp_path / "attempts"),
            lambda _: (
                backend.observe([Handle("fg-measured-1")]).seen["fg-measured-1"].phase
                is Phase.ENDED
            ),
        )
