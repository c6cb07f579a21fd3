"""What a look at many attempts of this machine's engine costs, without the database."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from pathlib import Path
from statistics import median

from clusters.backends.base import Handle
from clusters.backends.local.backend import LocalBackend
from tests.bench.table import Figure
from tests.clusters.backends.machine import settings_of
from tests.contracts.backend import make_spec, run

ATTEMPTS = 1_000
ROUNDS = 7
GOAL_SECONDS = 1.0


def measure() -> list[Figure]:
    """The median look, beside the same files read and parsed."""
    ours: list[float] = []
    bare: list[float] = []
    with tempfile.TemporaryDirectory(prefix="fastgpu-bench-") as folder:
        root = Path(folder)
        root.chmod(0o755)
        backend = LocalBackend(settings_of(root))
        files = _ended(backend, root)
        for _ in range(ROUNDS):
            began = time.perf_counter()
            seen = backend.observe(Handle(file.parent.name) for file in files).seen
            ours.append(time.perf_counter() - began)
            if len(seen) != ATTEMPTS:
                raise RuntimeError(f"{len(seen)} of {ATTEMPTS} attempts were seen")
            began = time.perf_counter()
            for file in files:
                json.loads(file.read_bytes())
            bare.append(time.perf_counter() - began)
    return [
        Figure(
            f"a look at {ATTEMPTS:,} local attempts",
            f"{median(ours):.3f} s",
            f"files read {median(bare):.3f} s",
            f"{median(ours) / median(bare):.2f}x",
            f"< {GOAL_SECONDS:.0f} s",
            median(ours) < GOAL_SECONDS,
        )
    ]


def _ended(backend: LocalBackend, root: Path) -> list[Path]:
    """One attempt that has ended, as often as there shall be; what is known of each."""
    spec = make_spec("true")
    run(backend, spec)
    attempts = root / "local" / "attempts"
    files = [attempts / f"copy-{number}" / "state.json" for number in range(ATTEMPTS)]
    for file in files:
        file.parent.mkdir()
        shutil.copy(attempts / spec.external_name / "state.json", file)
    return files
