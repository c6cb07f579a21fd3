"""Environments that are OCI images, on a real podman: the contract, and what only they promise."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from clusters.backends.base import (
    BackendUnavailable,
    EndReason,
    Handle,
    LaunchRefused,
    LaunchSpec,
    Observation,
    Phase,
)
from clusters.backends.local import container_plan
from clusters.backends.local.backend import LocalBackend
from clusters.backends.local.gpus import Gpu, virtual
from clusters.backends.local.settings import LocalSettings
from clusters.backends.local.shown import Place
from tests.contracts.backend import (
    MIB,
    BackendContract,
    ended,
    log_holds,
    log_of,
    look,
    make_spec,
    run,
    wait_for,
)
from tests.oci.service import IMAGE, Podman

pytestmark = [
    pytest.mark.oci,
    pytest.mark.sandbox,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
]
UID_BASE = 210_000
SUBMIT = """
import sys, time
from pathlib import Path
from clusters.backends.local.backend import LocalBackend
from clusters.backends.local.settings import LocalSettings
from clusters.backends.local.shown import Place
from tests.contracts.backend import make_spec
root, socket = Path(sys.argv[1]), sys.argv[2]
settings = LocalSettings(root / "local", root / "environments", 2, False, 210000, socket)
spec = make_spec("echo begun; sleep 2; echo finished", name="fg-orphan", environment="image")
LocalBackend(settings).submit(spec)
print("submitted", flush=True)
time.sleep(60)
"""


class InImage(LocalBackend):
    """A local backend whose default environment is the image."""

    def submit(self, spec: LaunchSpec) -> Observation:
        """As LocalBackend's."""
        return super().submit(replace(spec, environment=spec.environment or "image"))


@pytest.fixture
def root() -> Iterator[Path]:
    """A folder below a 0700 one, with an environment that is an image."""
    top = Path(tempfile.mkdtemp(prefix="fastgpu-test-"))
    (top / "environments").mkdir()
    (top / "environments" / "image.toml").write_text(f'image = "{IMAGE}"\n')
    yield top
    shutil.rmtree(top)


def settings_of(root: Path, socket: str) -> LocalSettings:
    """Settings with everything below `root` and images run by `socket`."""
    return LocalSettings(root / "local", root / "environments", 2, False, UID_BASE, socket)


@pytest.fixture
def backend(root: Path, podman: Podman) -> Iterator[LocalBackend]:
    """A backend whose attempts are all ended and whose containers are all gone afterwards."""
    made = InImage(settings_of(root, str(podman.socket)))
    yield made
    attempts = root / "local" / "attempts"
    names = [folder.name for folder in attempts.iterdir()] if attempts.is_dir() else []
    for name in names:
        made.stop(name, grace_seconds=0)
    wait_for(
        lambda: all(o.phase is Phase.ENDED for o in made.observe(map(Handle, names)).seen.values())
    )
    wait_for(lambda: podman.run("ps", "--all", "--quiet") == "", why=lambda: _trouble(attempts))


def _trouble(attempts: Path) -> str:
    """What supervisors could not do."""
    return "".join(log.read_text() for log in attempts.glob("*/supervisor.log"))


class TestContract(BackendContract):
    """The contract, in containers."""


class TestContainer:
    """What the engine was asked for, as it was done."""

    def test_it_is_called_as_the_attempt_and_gone_after_it(
        self, backend: LocalBackend, podman: Podman
    ) -> None:
        spec = make_spec("echo begun; sleep 60")
        backend.submit(spec)
        log_holds(backend, spec.external_name, b"begun\n")
        assert podman.run("ps", "--format", "{{.Names}}") == spec.external_name
        backend.stop(spec.external_name, grace_seconds=0)
        assert ended(backend, spec.external_name).reason is EndReason.STOPPED
        wait_for(lambda: podman.run("ps", "--all", "--quiet") == "")

    def test_a_foreign_container_of_that_name_is_left_alone(
        self, backend: LocalBackend, podman: Podman
    ) -> None:
        spec = make_spec("echo ran")
        podman.run("create", "--name", spec.external_name, IMAGE, "/bin/true")
        end = run(backend, spec)
        assert (end.reason, log_of(backend, spec.external_name)) == (EndReason.START_FAILED, b"")
        assert "foreign container" in end.detail
        assert podman.run("ps", "--all", "--format", "{{.Names}}") == spec.external_name
        podman.run("rm", spec.external_name)

    def test_work_runs_as_the_teams_uid_without_rights(self, backend: LocalBackend) -> None:
        spec = make_spec("id -u; grep -E 'CapEff|CapBnd|NoNewPrivs' /proc/self/status", team=42)
        run(backend, spec)
        log = log_of(backend, spec.external_name).split()
        assert log == [
            str(UID_BASE + 42).encode(),
            b"CapEff:", b"0" * 16, b"CapBnd:", b"0" * 16, b"NoNewPrivs:", b"1",
        ]  # fmt: skip

    def test_no_network_unless_allowed(self, backend: LocalBackend) -> None:
        count = "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' ' | sort"
        closed, opened = make_spec(count), make_spec(count, network=True)
        run(backend, closed)
        run(backend, opened)
        assert log_of(backend, closed.external_name) == b"lo\n"
        assert log_of(backend, opened.external_name) == b"eth0\nlo\n"

    def test_real_gpus_are_asked_for_by_uuid_and_virtual_ones_not_at_all(
        self, tmp_path: Path
    ) -> None:
        spec = make_spec("true")
        place = Place(tmp_path, tmp_path, UID_BASE, "tag")
        stand_ins = virtual(tmp_path, 2)
        real = [
            Gpu(replace(g.description, uuid=f"GPU-{i}", is_virtual=False), Path(f"/dev/nvidia{i}"))
            for i, g in enumerate(stand_ins)
        ]
        view = container_plan.View(place, [], "/home/run", {}, real)
        asked = container_plan.body(spec, view, "image")
        assert asked["Env"] == ["NVIDIA_VISIBLE_DEVICES=GPU-0,GPU-1"]
        assert asked["HostConfig"]["DeviceRequests"] == [
            {"Driver": "nvidia", "DeviceIDs": ["GPU-0", "GPU-1"], "Capabilities": [["gpu"]]}
        ]
        none = container_plan.body(spec, replace(view, chosen=stand_ins), "image")
        assert none["Env"] == ["NVIDIA_VISIBLE_DEVICES=void"]
        assert "DeviceRequests" not in none["HostConfig"]

    def test_it_is_held_still_and_goes_on(self, backend: LocalBackend) -> None:
        spec = make_spec("i=0; while :; do i=$((i+1)); echo $i; sleep 0.05; done")
        backend.submit(spec)
        log_holds(backend, spec.external_name, b"2\n")
        backend.pause(spec.external_name)
        wait_for(lambda: (seen := look(backend, spec.external_name)) and seen.is_paused)
        held = log_of(backend, spec.external_name)
        backend.resume(spec.external_name)
        wait_for(lambda: len(log_of(backend, spec.external_name)) > len(held) + 4)
        backend.pause(spec.external_name)
        backend.stop(spec.external_name, grace_seconds=0)
        assert ended(backend, spec.external_name).reason is EndReason.STOPPED

    def test_limits_reach_the_containers_own_cgroups(
        self, backend: LocalBackend, root: Path
    ) -> None:
        spec = make_spec("echo begun; sleep 60", memory=96 * MIB)
        backend.submit(spec)
        log_holds(backend, spec.external_name, b"begun\n")
        folder = root / "local" / "attempts" / spec.external_name
        groups = json.loads((folder / "placement.json").read_text())["cgroups"]
        if "unified" in groups:
            read = [Path(groups["unified"], n).read_text() for n in ("memory.max", "pids.max")]
        else:
            read = [
                Path(groups["memory"], "memory.limit_in_bytes").read_text(),
                Path(groups["pids"], "pids.max").read_text(),
            ]
        assert [int(word) for word in read] == [96 * MIB, 64]
        backend.stop(spec.external_name, grace_seconds=0)
        ended(backend, spec.external_name)

    def test_checkpoints_are_kept_over_attempts(self, backend: LocalBackend) -> None:
        first = make_spec("echo saved > $FASTGPU_CHECKPOINT_DIR/step")
        run(backend, first)
        second = make_spec("cat $FASTGPU_CHECKPOINT_DIR/step")
        run(backend, second)
        assert log_of(backend, second.external_name) == b"saved\n"


class TestImages:
    """Which image an environment is, and what happens when it is not there."""

    def test_one_that_is_not_here_is_refused_and_not_pulled(
        self, backend: LocalBackend, root: Path
    ) -> None:
        (root / "environments" / "gone.toml").write_text('image = "example.invalid/gone:1"\n')
        with pytest.raises(LaunchRefused, match=r"example\.invalid/gone:1") as refused:
            backend.submit(make_spec("true", environment="gone"))
        assert refused.value.reason is EndReason.IMAGE_MISSING

    @pytest.mark.parametrize(
        "text", ["", "image = 3", 'image = " "', 'image = "a"\nrun = "--privileged"', "image ="]
    )
    def test_a_description_that_says_anything_else_is_refused(
        self, backend: LocalBackend, root: Path, text: str
    ) -> None:
        (root / "environments" / "odd.toml").write_text(text)
        with pytest.raises(LaunchRefused) as refused:
            backend.submit(make_spec("true", environment="odd"))
        assert refused.value.reason is EndReason.IMAGE_MISSING

    def test_an_image_without_a_shell_says_so(
        self, backend: LocalBackend, root: Path, podman: Podman, tmp_path: Path
    ) -> None:
        (tmp_path / "empty").mkdir()
        subprocess.run(
            ["tar", "-cf", tmp_path / "empty.tar", "-C", tmp_path / "empty", "."], check=True
        )
        podman.run("import", str(tmp_path / "empty.tar"), "empty:1")
        (root / "environments" / "empty.toml").write_text('image = "empty:1"\n')
        end = run(backend, make_spec("true", environment="empty"))
        assert end.reason is EndReason.START_FAILED
        assert "/bin/sh" in end.detail

    def test_without_a_socket_the_environment_is_refused_and_the_page_told(
        self, root: Path
    ) -> None:
        backend = LocalBackend(settings_of(root, ""))
        with pytest.raises(LaunchRefused, match="LOCAL_OCI_SOCKET"):
            backend.submit(make_spec("true", environment="image"))
        health = backend.health({})
        assert health.may_start
        assert "LOCAL_OCI_SOCKET" in health.detail


class TestSurvival:
    """Processes that die: ours and the engine's."""

    def test_attempt_survives_the_killing_of_its_submitter(
        self, backend: LocalBackend, root: Path, podman: Podman
    ) -> None:
        portal = subprocess.Popen(
            [sys.executable, "-c", SUBMIT, str(root), str(podman.socket)],
            stdout=subprocess.PIPE,
            start_new_session=True,
            cwd=Path(__file__).parents[3],
        )
        assert portal.stdout is not None
        assert portal.stdout.readline() == b"submitted\n"
        os.killpg(portal.pid, signal.SIGKILL)
        portal.wait()
        portal.stdout.close()
        assert ended(backend, "fg-orphan").reason is EndReason.COMPLETED
        assert log_of(backend, "fg-orphan") == b"begun\nfinished\n"

    def test_killed_supervisor_is_node_lost_and_takes_the_container_along(
        self, backend: LocalBackend, root: Path, podman: Podman
    ) -> None:
        spec = make_spec("echo begun; sleep 60")
        backend.submit(spec)
        log_holds(backend, spec.external_name, b"begun\n")
        folder = root / "local" / "attempts" / spec.external_name
        state = json.loads((folder / "state.json").read_text())
        os.kill(state["supervisor"]["pid"], signal.SIGKILL)
        assert ended(backend, spec.external_name).reason is EndReason.NODE_LOST
        assert not Path(f"/proc/{state['inner_pid']}").exists()
        assert podman.run("ps", "--all", "--quiet") == ""

    def test_an_engine_that_is_away_is_unavailable_until_it_is_back(
        self, backend: LocalBackend, podman: Podman
    ) -> None:
        spec = make_spec("echo ran")
        podman.stop()
        try:
            with pytest.raises(BackendUnavailable):
                backend.submit(spec)
            health = backend.health({})
            assert look(backend, spec.external_name) is None
        finally:
            podman.start()
        assert health.may_start
        assert "images do not run" in health.detail
        assert run(backend, spec).reason is EndReason.COMPLETED

    @pytest.mark.parametrize(
        ("command", "reason", "code"),
        [
            ("sleep 1; exit 5", EndReason.USER_ERROR, 5),
            (
                "sleep 1; python3 -c 'x = bytearray(400_000_000)'",
                EndReason.OUT_OF_MEMORY,
                137,
            ),
        ],
    )
    def test_the_end_is_known_without_the_engine(
        self, backend: LocalBackend, podman: Podman, command: str, reason: EndReason, code: int
    ) -> None:
        spec = make_spec(f"echo begun; {command}", memory=64 * MIB)
        backend.submit(spec)
        log_holds(backend, spec.external_name, b"begun\n")
        podman.stop()
        try:
            end = ended(backend, spec.external_name)
        finally:
            podman.start()
            podman.run("rm", "--force", "--time", "0", spec.external_name)
        assert (end.reason, end.exit_code) == (reason, code)

    def test_a_stop_works_without_the_engine(self, backend: LocalBackend, podman: Podman) -> None:
        spec = make_spec("trap 'echo saved; exit 3' TERM; echo begun; while :; do sleep 0.1; done")
        backend.submit(spec)
        log_holds(backend, spec.external_name, b"begun\n")
        podman.stop()
        try:
            backend.stop(spec.external_name, grace_seconds=10)
            end = ended(backend, spec.external_name)
        finally:
            podman.start()
            podman.run("rm", "--force", "--time", "0", spec.external_name)
        assert end.reason is EndReason.STOPPED
        assert b"saved\n" in log_of(backend, spec.external_name)
