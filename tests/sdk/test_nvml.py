"""Real GPUs, through a driver library of our own that is built for the test."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
SOURCES = HERE.parents[1] / "sdk" / "src"

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc builds the library")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the library in it."""
    folder = tmp_path_factory.mktemp("nvml")
    target = folder / "libnvidia-ml.so.1"
    command = ["gcc", "-shared", "-fPIC", "-o", str(target), str(HERE / "fake_nvml.c")]
    subprocess.run(command, check=True)
    return folder


def gpus_of(library: Path, attempts: Path, **environment: str) -> list[dict[str, Any]]:
    """What `--once` prints on a machine with this library."""
    command = [sys.executable, "-m", "fastgpu.agent", "--once", "--interval", "0.1"]
    done = subprocess.run(
        [*command, "--placements", str(attempts), "--virtual-gpus", "1"],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ
        | {"LD_LIBRARY_PATH": str(library), "PYTHONPATH": str(SOURCES)}
        | environment,
    )
    gpus: list[dict[str, Any]] = json.loads(done.stdout)["gpus"]
    return gpus


def test_values_come_from_the_driver(library: Path, tmp_path: Path) -> None:
    first = gpus_of(library, tmp_path, FAKE_GPUS="2")[0]
    assert first["uuid"] == "GPU-shim-0"
    assert first["utilization_percent"] == 73.0
    assert first["memory_used_bytes"] == 1 << 34
    assert first["power_watts"] == 250.5


def test_what_the_driver_does_not_know_is_unknown_not_zero(library: Path, tmp_path: Path) -> None:
    first, last = gpus_of(library, tmp_path, FAKE_GPUS="2")
    assert first["temperature_celsius"] is None
    assert last["uuid"] == "GPU-shim-1"
    assert (last["utilization_percent"], last["memory_used_bytes"]) == (None, None)


def test_a_driver_that_lost_its_gpus_reports_none_of_them(library: Path, tmp_path: Path) -> None:
    assert [gpu["uuid"][:12] for gpu in gpus_of(library, tmp_path, FAKE_LOST="1")] == [
        "GPU-virtual-"
    ]


def test_attempts_are_named_on_the_real_gpus_they_hold(library: Path, tmp_path: Path) -> None:
    attempt = tmp_path / "fg-a-1"
    attempt.mkdir()
    placement = {
        "external_name": "fg-a-1",
        "gpu_uuids": ["GPU-shim-0"],
        "cgroups": {},
        "supervisor": {"pid": os.getpid(), "create_time": 0.0},
    }
    (attempt / "placement.json").write_text(json.dumps(placement))
    [gpu] = gpus_of(library, tmp_path)
    assert gpu["external_names"] == ["fg-a-1"]
