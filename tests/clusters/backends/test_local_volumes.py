"""Volumes of the local backend, and folders that attempts are shown."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from clusters.backends.base import (
    BackendError,
    EndReason,
    LaunchRefused,
    LaunchSpec,
    ReadFolder,
)
from clusters.backends.local.backend import LocalBackend
from clusters.telemetry.volume_events import Writer, files_of
from portal.lib import clock
from tests.clusters.backends.machine import ENVIRONMENTS, RUNTIMES, UID_BASE, needs_root
from tests.contracts.backend import log_of, make_spec, run
from tests.contracts.folders import FoldersContract, KeepingEngine, keeping

pytestmark = pytest.mark.sandbox


def with_volume(command: str, *, runtime: str = "bubblewrap", team: int = 7) -> LaunchSpec:
    """A spec with the volume `data` mounted."""
    spec = make_spec(command, environment=ENVIRONMENTS[runtime], team=team)
    return replace(spec, volume="data")


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_what_lies_in_it_outlives_the_attempt(either: LocalBackend, runtime: str) -> None:
    either.make_volume("data", team_number=7)
    either.make_volume("data", team_number=7)
    first = with_volume("pwd; echo 41 > step; echo $FASTGPU_WORKSPACE $HOME", runtime=runtime)
    run(either, first)
    assert log_of(either, first.external_name) == b"/workspace\n/workspace /home/run\n"
    second = with_volume("cat /workspace/step; ls -A ~", runtime=runtime)
    run(either, second)
    assert log_of(either, second.external_name) == b"41\ncheckpoints\n"
    assert (either.volume_path("data") / "step").read_text() == "41\n"


@needs_root
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_it_is_the_teams_alone(either: LocalBackend, runtime: str) -> None:
    either.make_volume("data", team_number=42)
    info = either.volume_path("data").stat()
    assert (stat.S_IMODE(info.st_mode), info.st_uid) == (0o700, UID_BASE + 42)
    run(either, with_volume("echo mine > file", team=42, runtime=runtime))
    assert (either.volume_path("data") / "file").stat().st_uid == UID_BASE + 42
    assert either.volume_owner(42) == (UID_BASE + 42, UID_BASE + 42)
    with pytest.raises(LaunchRefused, match="another team"):
        either.submit(with_volume("cat file", team=43, runtime=runtime))


def test_its_content_counts_in_no_limit_of_the_attempt(backend: LocalBackend) -> None:
    backend.make_volume("data", team_number=7)
    spec = with_volume("head -c 40M /dev/zero > big; head -c 8M /dev/zero > ~/small; sleep 2.5")
    assert run(backend, spec).reason is EndReason.COMPLETED
    assert (backend.volume_path("data") / "big").stat().st_size == 40 << 20
    full = with_volume("head -c 40M /dev/zero > ~/big; sleep 60")
    assert run(backend, full).reason is EndReason.DISK_FULL


class TestLocalFolders(FoldersContract):
    @pytest.fixture
    def keeper(self, backend: LocalBackend) -> KeepingEngine:
        return keeping(backend)


def test_home_and_checkpoints_are_as_without_one(backend: LocalBackend) -> None:
    backend.make_volume("data", team_number=7)
    spec = with_volume("echo out > ~/out; echo 1 > $FASTGPU_CHECKPOINT_DIR/step; echo in > in")
    run(backend, spec)
    listed = [file.path for file in backend.list_files(spec.external_name)]
    assert listed == ["checkpoints/step", "out"]


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_what_writers_put_the_hosts_name_into_is_told_by_the_attempts(
    either: LocalBackend, runtime: str
) -> None:
    job = make_spec("cat /proc/sys/kernel/hostname", environment=ENVIRONMENTS[runtime])
    run(either, job)
    assert log_of(either, job.external_name).decode() == f"{job.external_name}\n"
    server = replace(job, external_name=f"{job.external_name}-s", serves=True)
    run(either, server)
    assert log_of(either, server.external_name) == b"fastgpu\n"


def test_event_files_of_two_jobs_with_one_volume_are_told_apart(backend: LocalBackend) -> None:
    backend.make_volume("data", team_number=7)
    write = "mkdir -p runs; touch runs/events.out.tfevents.$(date +%s).$(cat /etc/hostname).2.0"
    began = clock.now()
    jobs = [with_volume(write), with_volume(write)]
    for job in jobs:
        run(backend, job)
    for job in jobs:
        name = job.external_name
        root = backend.folders_of(name)["workspace"]
        (file,) = files_of(Writer(root, (began, None), host=name))
        assert name in file.path


def test_a_name_of_its_machine_leads_to_itself(backend: LocalBackend) -> None:
    spec = make_spec("getent hosts $(cat /etc/hostname)")
    run(backend, spec)
    assert log_of(backend, spec.external_name).decode().split()[0] == "127.0.0.1"


def test_what_has_no_volume_has_no_workspace(backend: LocalBackend) -> None:
    spec = make_spec("ls -d /workspace; echo [$FASTGPU_WORKSPACE]; pwd")
    run(backend, spec)
    assert log_of(backend, spec.external_name).endswith(b"[]\n/home/run\n")


def test_a_volume_that_is_not_there_is_refused(backend: LocalBackend) -> None:
    with pytest.raises(LaunchRefused, match="not on this machine"):
        backend.submit(with_volume("true"))


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", ".hidden", "a\0b", "/etc"])
def test_a_name_is_no_path(backend: LocalBackend, name: str) -> None:
    for use in (backend.volume_path, backend.erase_volume):
        with pytest.raises(BackendError):
            use(name)
    with pytest.raises(BackendError):
        backend.make_volume(name, team_number=7)
    if name:
        with pytest.raises(LaunchRefused):
            backend.submit(replace(make_spec("true"), volume=name))


def test_erasing_takes_the_volume_and_no_other(backend: LocalBackend, root: Path) -> None:
    for name in ("data", "other"):
        backend.make_volume(name, team_number=7)
    run(backend, with_volume("mkdir -p a/b; echo x > a/b/c; ln -s /etc up; ln -s ../other side"))
    (backend.volume_path("other") / "kept").write_text("kept")
    backend.erase_volume("data")
    backend.erase_volume("data")
    assert os.listdir(root / "local" / "volumes") == ["other"]  # noqa: PTH208
    assert (backend.volume_path("other") / "kept").read_text() == "kept"
    assert Path("/etc/passwd").exists()


def test_a_volume_of_that_name_can_be_made_anew(backend: LocalBackend) -> None:
    backend.make_volume("data", team_number=7)
    run(backend, with_volume("echo x > file"))
    backend.erase_volume("data")
    backend.make_volume("data", team_number=7)
    assert list(backend.volume_path("data").iterdir()) == []


class TestReads:
    """Folders that a spec asks to be shown."""

    def reading(self, host: Path, inside: str, command: str, **about: object) -> LaunchSpec:
        spec = make_spec(command, environment=ENVIRONMENTS[str(about.get("runtime", "bubblewrap"))])
        return replace(spec, reads=(ReadFolder(str(host), inside),))

    @pytest.mark.parametrize("runtime", RUNTIMES)
    def test_what_another_attempt_left_is_read_and_not_changed(
        self, either: LocalBackend, runtime: str
    ) -> None:
        writer = make_spec("mkdir logs; echo loss > logs/events", environment=ENVIRONMENTS[runtime])
        run(either, writer)
        home = either.folders_of(writer.external_name)["home"]
        reader = self.reading(
            home, "/runs/one", "cat /runs/one/logs/events; touch /runs/one/x || echo refused",
            runtime=runtime,
        )  # fmt: skip
        run(either, reader)
        lines = log_of(either, reader.external_name).decode().splitlines()
        assert (lines[0], lines[-1]) == ("loss", "refused")

    @needs_root
    @pytest.mark.parametrize("runtime", ["container"])
    def test_an_image_is_shown_nothing_that_another_engine_keeps(
        self, either: LocalBackend, runtime: str
    ) -> None:
        writer = make_spec("echo loss > events", environment=ENVIRONMENTS[runtime])
        run(either, writer)
        home = either.folders_of(writer.external_name)["home"]
        reader = self.reading(home, "/runs/one", "cat /runs/one/events", runtime=runtime)
        with pytest.raises(LaunchRefused, match="is an image"):
            either.submit(replace(reader, runs_as=UID_BASE + 8))
        run(either, replace(reader, runs_as=UID_BASE + 7))
        assert log_of(either, reader.external_name) == b"loss\n"

    @needs_root
    def test_files_of_another_uid_are_read_as_ones_own(
        self, backend: LocalBackend, root: Path
    ) -> None:
        writer = make_spec("umask 077; echo loss > events", team=8)
        run(backend, writer)
        home = backend.folders_of(writer.external_name)["home"]
        reader = self.reading(home, "/runs/one", "cat /runs/one/events; stat -c %u /runs/one")
        run(backend, reader)
        log = log_of(backend, reader.external_name)
        assert log == f"loss\n{UID_BASE + 7}\n".encode()

    def test_a_folder_of_the_operators_is_shown(self, backend: LocalBackend, root: Path) -> None:
        shared = root / "shared"
        (shared / "set").mkdir(parents=True)
        shared.chmod(0o755)
        (shared / "set" / "file").write_text("common\n")
        spec = self.reading(shared, "/data", "cat /data/set/file")
        run(backend, spec)
        assert log_of(backend, spec.external_name) == b"common\n"

    @pytest.mark.parametrize("way", ["link", "link/set", "loop", "real/../real", "."])
    def test_no_link_is_followed(self, backend: LocalBackend, root: Path, way: str) -> None:
        (root / "real" / "set").mkdir(parents=True)
        (root / "link").symlink_to(root / "real")
        (root / "loop").symlink_to(root / "loop")
        with pytest.raises(LaunchRefused, match="cannot be shown"):
            backend.submit(self.reading(root / "real" / ".." / way, "/data", "true"))

    @pytest.mark.parametrize("below", ["", "logs", "../spec.json", "../inside", "../.."])
    def test_nothing_is_shown_that_an_attempt_could_make_a_link(
        self, backend: LocalBackend, root: Path, below: str
    ) -> None:
        writer = make_spec("mkdir real; ln -s real logs")
        run(backend, writer)
        home = backend.folders_of(writer.external_name)["home"]
        spec = self.reading(home / "real" / below, "/runs/one", "true")
        with pytest.raises(LaunchRefused):
            backend.submit(spec)

    @pytest.mark.parametrize(
        "inside",
        ["", "/", "data", "/usr", "/etc/x", "/home/run/x", "/workspace", "/a/../etc", "/x\0"],
    )
    def test_no_place_of_the_systems_is_covered(
        self, backend: LocalBackend, root: Path, inside: str
    ) -> None:
        with pytest.raises(LaunchRefused):
            backend.submit(self.reading(root, inside, "true"))

    def test_a_folder_that_is_not_there_is_refused(self, backend: LocalBackend, root: Path) -> None:
        with pytest.raises(LaunchRefused, match="cannot be shown"):
            backend.submit(self.reading(root / "never-was", "/data", "true"))
