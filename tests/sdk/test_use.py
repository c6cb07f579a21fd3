"""What an attempt tells of its use."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fastgpu.lab.use import GpuUse, cpu_seconds


def process(proc: Path, pid: int, ticks: tuple[int, int, int, int], env: bytes = b"") -> None:
    folder = proc / str(pid)
    folder.mkdir(parents=True)
    fields = ["S", "1", *["0"] * 9, *map(str, ticks), "0"]
    (folder / "stat").write_text(f"{pid} (a name) with ) in it) {' '.join(fields)}")
    (folder / "environ").write_bytes(env)


def test_all_processes_and_those_they_waited_for_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    process(tmp_path, 1, (10, 20, 30, 40))
    process(tmp_path, 7, (1, 0, 0, 0))
    (tmp_path / "self").mkdir()
    assert cpu_seconds(tmp_path) == 101 / os.sysconf("SC_CLK_TCK")


def test_on_a_node_only_those_of_the_job_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "42")
    process(tmp_path, 1, (5, 0, 0, 0), b"A=1\0SLURM_JOB_ID=42\0")
    process(tmp_path, 2, (7, 0, 0, 0), b"SLURM_JOB_ID=421\0")
    process(tmp_path, 3, (9, 0, 0, 0))
    assert cpu_seconds(tmp_path) == 5 / os.sysconf("SC_CLK_TCK")


def test_process_that_has_ended_still_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    before = cpu_seconds()
    subprocess.run([sys.executable, "-c", "sum(range(8_000_000))"], check=True)
    assert cpu_seconds() - before >= 0.1


def test_mean_is_of_all_looks_since_the_last_question() -> None:
    values = iter([[10.0, 30.0], [50.0, 70.0]])
    use = GpuUse(None)
    use._read = lambda: next(values)
    use.look()
    use.look()
    assert (use.take(), use.take()) == (40.0, None)


def test_without_gpus_there_is_no_number() -> None:
    assert GpuUse(None).take() is None
