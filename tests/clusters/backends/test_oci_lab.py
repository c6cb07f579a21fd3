"""A notebook in an OCI image: the same JupyterLab, in a container of a real podman."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from clusters.backends.local.backend import LocalBackend
from tests.clusters.backends.machine import ending_all
from tests.clusters.backends.test_local_lab import notebook, works
from tests.clusters.backends.test_oci import settings_of
from tests.oci.service import Podman
from tests.stacks.environments import prepared

pytestmark = [
    pytest.mark.oci,
    pytest.mark.sandbox,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
]
IMAGE = "fastgpu-tests-lab:1"


@pytest.fixture
def backend(root: Path, podman: Podman) -> Iterator[LocalBackend]:
    """A local backend with an image that has JupyterLab, and a volume."""
    podman.keep(IMAGE, prepared("lab") / "lab")
    (root / "environments").mkdir()
    (root / "environments" / "lab-image.toml").write_text(f'image = "{IMAGE}"\n')
    made = LocalBackend(settings_of(root, str(podman.socket)))
    made.make_volume("data", team_number=7)
    with ending_all(made, root):
        yield made


def test_it_serves_the_volume_with_the_specs_variables(backend: LocalBackend) -> None:
    spec = replace(notebook(), environment="lab-image")
    backend.submit(spec)
    works(backend, spec)
