"""The shared folder of a Slurm engine, without a Slurm."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

from clusters.backends.slurm.folders import SharedFolder

CONTENT = b"x" * 200_000
THREADS = 8


def test_a_file_many_install_at_once_is_never_seen_half_written(tmp_path: Path) -> None:
    folders = SharedFolder(tmp_path / "root")
    folders.create_tree()
    together = Barrier(THREADS)

    def install(name: str) -> bytes:
        together.wait()
        return folders.install(CONTENT, name).read_bytes()

    with ThreadPoolExecutor(THREADS) as pool:
        for number in range(20):
            assert set(pool.map(install, [f"{number}.py"] * THREADS)) == {CONTENT}
    assert not list((tmp_path / "root" / "lib").glob(".*"))
