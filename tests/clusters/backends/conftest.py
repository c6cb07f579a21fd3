"""A local backend with a root of its own."""

from __future__ import annotations

import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from clusters.backends.local.backend import LocalBackend
from tests.clusters.backends.machine import ending_all, settings_of
from tests.oci.service import IMAGE, Podman


@pytest.fixture
def root() -> Iterator[Path]:
    """A folder below a 0700 one, as VAR_DIR under /root is."""
    top = Path(tempfile.mkdtemp(prefix="fastgpu-test-"))
    assert stat.S_IMODE(top.stat().st_mode) == 0o700
    yield top
    shutil.rmtree(top)


@pytest.fixture
def backend(root: Path) -> Iterator[LocalBackend]:
    """A local backend whose attempts are all ended afterwards."""
    with ending_all(LocalBackend(settings_of(root)), root) as made:
        yield made


@pytest.fixture
def either(root: Path, runtime: str, request: pytest.FixtureRequest) -> Iterator[LocalBackend]:
    """The same, with an environment `image` where the test's runtime is a container."""
    socket = ""
    if runtime == "container":
        podman: Podman = request.getfixturevalue("podman")
        socket = str(podman.socket)
        (root / "environments").mkdir(exist_ok=True)
        (root / "environments" / "image.toml").write_text(f'image = "{IMAGE}"\n')
    with ending_all(LocalBackend(settings_of(root, oci_socket=socket)), root) as made:
        yield made
