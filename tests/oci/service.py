"""A podman of the suite's own, behind the Docker API: its own socket, storage and settings."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from clusters.backends.local.oci import OciAway, OciService
from tests.contracts.backend import wait_for
from tests.oci import image

IMAGE = "fastgpu-tests:1"
# No limit is raised, because that needs a capability which a container of ours may lack; runc and
# cgroupfs, because crun refuses v1 beside v2, and there is no systemd.
CONTAINERS_CONF = """
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""


@dataclass
class Podman:
    """A podman service that can be taken away and given back."""

    folder: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path:
        """Where it listens."""
        return self.folder / "podman.sock"

    def command(self, *words: str) -> list[str]:
        """podman with this service's storage."""
        storage = ["--root", str(self.folder / "root"), "--runroot", str(self.folder / "run")]
        return ["podman", *storage, "--tmpdir", str(self.folder / "tmp"), *words]

    def run(self, *words: str) -> str:
        """What a podman command prints."""
        done = subprocess.run(
            self.command(*words), check=True, capture_output=True, timeout=180, env=self._env()
        )
        return done.stdout.decode().strip()

    def keep(self, name: str, environment: Path | None = None) -> None:
        """Make the image `name`, which has `environment` in it and on its PATH."""
        file = self.folder / "image.tar"
        image.build(file, environment)
        changes = ["--change", f"ENV PATH={environment}/bin:/usr/bin"] if environment else []
        self.run("import", *changes, str(file), name)
        file.unlink()

    def start(self) -> None:
        """Listen, and wait until it answers."""
        words = self.command("system", "service", "--time", "0", f"unix://{self.socket}")
        with (self.folder / "service.log").open("ab") as log:
            # conmon notes a kill for want of memory in the folder it was started in.
            self.process = subprocess.Popen(
                words, stdout=log, stderr=log, env=self._env(), cwd=self.folder
            )
        wait_for(self._answers)

    def stop(self) -> None:
        """Kill the service; its containers go on."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
            self.socket.unlink(missing_ok=True)

    def _answers(self) -> bool:
        with suppress(OciAway):
            OciService(str(self.socket)).version()
            return True
        return False

    def _env(self) -> dict[str, str]:
        return os.environ | {"CONTAINERS_CONF": str(self.folder / "containers.conf")}


@contextmanager
def running() -> Iterator[Podman]:
    """A service with the one image in it; all of it is gone afterwards."""
    # A short path: a socket's may have 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="fgp-"))
    podman = Podman(folder)
    try:
        (folder / "containers.conf").write_text(CONTAINERS_CONF)
        podman.keep(IMAGE)
        podman.start()
        yield podman
    finally:
        podman.run("rm", "--all", "--force", "--time", "0")
        podman.stop()
        _unmount(folder)
        shutil.rmtree(folder)


def _unmount(folder: Path) -> None:
    """What podman keeps mounted below its storage."""
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for point in sorted(mounts, reverse=True):
        if Path(point).is_relative_to(folder):
            subprocess.run(["umount", point], check=True, timeout=20)
