"""The local backend on real bubblewrap: the contract, and what only it promises."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from clusters.backends.base import (
    REQUEUE_EXIT_CODE,
    Backend,
    EndReason,
    Handle,
    LaunchRefused,
)
from clusters.backends.local import gpus
from clusters.backends.local.backend import LocalBackend
from tests.clusters.backends.machine import UID_BASE, needs_root, settings_of, state_of
from tests.contracts.backend import (
    BackendContract,
    ended,
    log_holds,
    log_of,
    look,
    make_spec,
    run,
    wait_for,
)

SUBMIT = """
import sys, time
from pathlib import Path
from clusters.backends.local.backend import LocalBackend
from clusters.backends.local.settings import LocalSettings
from tests.contracts.backend import make_spec
root = Path(sys.argv[1])
backend = LocalBackend(LocalSettings(root / "local", root / "environments", 2, False, 210000))
backend.submit(make_spec("echo begun; sleep 2; echo finished", name="fg-orphan"))
print("submitted", flush=True)
time.sleep(60)
"""


@pytest.mark.sandbox
class TestLocalBackend(BackendContract):
    """The contract."""

    @needs_root
    def test_memory_hog_is_out_of_memory(self, backend: Backend) -> None:
        """Only cgroups tell that memory was the reason; rlimits just make malloc fail."""
        super().test_memory_hog_is_out_of_memory(backend)


@pytest.mark.sandbox
class TestIsolation:
    """What the sandbox shows and allows."""

    def test_no_file_of_the_portal_is_seen(self, backend: LocalBackend, root: Path) -> None:
        secret = root / "secrets.json"
        secret.write_text("hidden")
        spec = make_spec(f"cat {secret}; ls {root} /root /var/lib /mnt /etc/shadow; echo checked")
        run(backend, spec)
        log = log_of(backend, spec.external_name)
        assert b"checked" in log
        assert b"hidden" not in log
        assert log.count(b"No such file") == 6

    def test_no_process_of_the_portal_is_seen(self, backend: LocalBackend) -> None:
        spec = make_spec("for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline; echo; done")
        run(backend, spec)
        lines = [line for line in log_of(backend, spec.external_name).splitlines() if line]
        assert all(line.startswith((b"/bin/sh", b"/bin/bash", b"tr")) for line in lines), lines

    def test_no_network_but_an_own_loopback(self, backend: LocalBackend) -> None:
        spec = make_spec("tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '")
        run(backend, spec)
        assert log_of(backend, spec.external_name) == b"lo\n"

    def test_network_is_the_hosts_when_allowed(self, backend: LocalBackend) -> None:
        spec = make_spec("readlink /proc/self/ns/net", network=True)
        run(backend, spec)
        mine = os.readlink("/proc/self/ns/net").encode()  # noqa: PTH115 (a magic link's text)
        assert log_of(backend, spec.external_name).strip() == mine

    def test_another_teams_home_is_not_there(self, backend: LocalBackend) -> None:
        first = make_spec("echo mine > secret; chmod 777 secret", team=1)
        run(backend, first)
        second = make_spec(f"find / -name secret 2>/dev/null | grep -v ^/proc; "
                           f"ls /home; ls / | grep -c {first.external_name}", team=2)  # fmt: skip
        run(backend, second)
        assert log_of(backend, second.external_name) == b"run\n0\n"

    def test_system_is_read_only(self, backend: LocalBackend) -> None:
        spec = make_spec(
            "for d in / /usr /etc /dev /run/fastgpu; do touch $d/x && echo wrote; done"
        )
        run(backend, spec)
        assert b"wrote" not in log_of(backend, spec.external_name)

    def test_no_rights_are_left(self, backend: LocalBackend) -> None:
        spec = make_spec("grep -E 'CapEff|CapBnd|NoNewPrivs' /proc/self/status; unshare -U true")
        end = run(backend, spec)
        log = log_of(backend, spec.external_name).split()
        assert log[:6] == [b"CapEff:", b"0" * 16, b"CapBnd:", b"0" * 16, b"NoNewPrivs:", b"1"]
        assert end.exit_code == 1

    def test_no_file_descriptor_leaks_in(self, backend: LocalBackend) -> None:
        spec = make_spec(
            "exec python3 -c 'import os; print(sorted(os.listdir(\"/proc/self/fd\")))'"
        )
        run(backend, spec)
        assert log_of(backend, spec.external_name) == b"['0', '1', '2', '3']\n"

    @needs_root
    def test_uid_is_the_teams(self, backend: LocalBackend, root: Path) -> None:
        spec = make_spec("id -u; sleep 60", team=42)
        backend.submit(spec)
        log_holds(backend, spec.external_name, f"{UID_BASE + 42}\n".encode())
        inner = state_of(root, spec.external_name)["inner_pid"]
        assert Path(f"/proc/{inner}").stat().st_uid == UID_BASE + 42
        assert (
            root / "local/attempts" / spec.external_name / "home"
        ).stat().st_uid == UID_BASE + 42

    def test_deleted_open_files_count_as_disk(self, backend: LocalBackend) -> None:
        spec = make_spec(
            'for i in 3 4 5 6 7 8; do eval "exec $i>f$i"; rm f$i; '
            "head -c 8M /dev/zero >&$i; done; sleep 60"
        )
        assert run(backend, spec).reason is EndReason.DISK_FULL

    def test_tmp_is_limited(self, backend: LocalBackend) -> None:
        spec = make_spec(
            "for i in 1 2 3 4 5; do head -c 20M /dev/zero > /tmp/$i; echo code $?; done"
        )
        run(backend, spec)
        assert b"code 1\n" in log_of(backend, spec.external_name)


@pytest.mark.sandbox
class TestCheckpoints:
    """A folder that is the same for all attempts of a run."""

    def test_it_outlives_the_attempt_and_is_listed_and_read(self, backend: LocalBackend) -> None:
        first = make_spec("echo 41 > $FASTGPU_CHECKPOINT_DIR/step; mkdir checkpoints/d")
        run(backend, first)
        second = make_spec("cat $FASTGPU_CHECKPOINT_DIR/step; echo 42 > checkpoints/d/step; : > f")
        run(backend, second)
        assert log_of(backend, second.external_name) == b"41\n"
        listed = [file.path for file in backend.list_files(second.external_name)]
        assert listed == ["checkpoints/d/step", "checkpoints/step", "f"]
        with backend.open_file(second.external_name, "checkpoints/d/step") as file:
            assert file.read() == b"42\n"
        for path in ("checkpoints", "checkpoints/", "checkpoints/../f", "checkpoints/d"):
            with pytest.raises(FileNotFoundError):
                backend.open_file(second.external_name, path)

    def test_a_run_of_that_id_of_another_team_has_its_own(self, backend: LocalBackend) -> None:
        run(backend, make_spec("echo mine > $FASTGPU_CHECKPOINT_DIR/secret", team=1))
        other = make_spec("ls -A $FASTGPU_CHECKPOINT_DIR; echo looked", team=2)
        run(backend, other)
        assert log_of(backend, other.external_name) == b"looked\n"

    @pytest.mark.parametrize("run_id", ["../team-1/run", "", ".", "a/b", "a\0b"])
    def test_a_run_id_is_no_path(self, backend: LocalBackend, run_id: str) -> None:
        with pytest.raises(LaunchRefused):
            backend.submit(replace(make_spec("true"), run_id=run_id))

    def test_it_counts_as_disk(self, backend: LocalBackend) -> None:
        spec = make_spec(
            "head -c 20M /dev/zero > a; head -c 20M /dev/zero > checkpoints/b; sleep 60"
        )
        assert run(backend, spec).reason is EndReason.DISK_FULL

    @needs_root
    def test_it_is_the_teams_alone(self, backend: LocalBackend, root: Path) -> None:
        run(backend, make_spec("true", team=42))
        info = (root / "local/checkpoints/team-42/run-1").stat()
        assert (stat.S_IMODE(info.st_mode), info.st_uid) == (0o700, UID_BASE + 42)


TICKING = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.05; done"


@pytest.mark.sandbox
class TestPause:
    """Holding an attempt still and letting it go on."""

    def paused(self, backend: LocalBackend, name: str, *, is_paused: bool) -> None:
        def seen() -> bool:
            found = look(backend, name)
            return found is not None and found.is_paused is is_paused

        wait_for(seen)

    def test_nothing_happens_in_between_and_it_goes_on_where_it_was(
        self, backend: LocalBackend, root: Path
    ) -> None:
        spec = make_spec(TICKING)
        backend.submit(spec)
        log_holds(backend, spec.external_name, b"2\n")
        backend.pause(spec.external_name)
        backend.pause(spec.external_name)
        self.paused(backend, spec.external_name, is_paused=True)
        folder = root / "local" / "attempts" / spec.external_name
        groups = json.loads((folder / "spec.json").read_text())["cgroups"]
        if "freezer" in groups:
            wait_for(lambda: Path(groups["freezer"], "freezer.state").read_text() == "FROZEN\n")
        held = log_of(backend, spec.external_name)
        beat = (folder / "heartbeat").stat().st_mtime
        # The supervisor's next beat: time passed, and the command wrote nothing.
        wait_for(lambda: (folder / "heartbeat").stat().st_mtime > beat)
        assert log_of(backend, spec.external_name) == held
        backend.resume(spec.external_name)
        self.paused(backend, spec.external_name, is_paused=False)
        wait_for(lambda: len(log_of(backend, spec.external_name)) > len(held))
        lines = log_of(backend, spec.external_name).split()
        assert lines == [str(i + 1).encode() for i in range(len(lines))]

    def test_another_process_of_the_portal_can_let_it_go_on(
        self, backend: LocalBackend, root: Path
    ) -> None:
        spec = make_spec(TICKING)
        backend.submit(spec)
        backend.pause(spec.external_name)
        self.paused(backend, spec.external_name, is_paused=True)
        held = log_of(backend, spec.external_name)
        LocalBackend(settings_of(root)).resume(spec.external_name)
        wait_for(lambda: len(log_of(backend, spec.external_name)) > len(held))

    def test_what_is_paused_can_save_its_work_when_stopped(self, backend: LocalBackend) -> None:
        spec = make_spec("trap 'echo saved; exit 3' TERM; echo ready; while :; do sleep 0.1; done")
        backend.submit(spec)
        log_holds(backend, spec.external_name, b"ready\n")
        backend.pause(spec.external_name)
        self.paused(backend, spec.external_name, is_paused=True)
        backend.stop(spec.external_name, grace_seconds=10)
        end = ended(backend, spec.external_name)
        assert (end.reason, end.is_paused) == (EndReason.STOPPED, False)
        assert b"saved\n" in log_of(backend, spec.external_name)

    def test_what_is_paused_can_be_killed(self, backend: LocalBackend) -> None:
        spec = make_spec("echo ready; sleep 60")
        backend.submit(spec)
        backend.pause(spec.external_name)
        self.paused(backend, spec.external_name, is_paused=True)
        backend.stop(spec.external_name, grace_seconds=0)
        assert ended(backend, spec.external_name).reason is EndReason.STOPPED

    def test_the_time_limit_goes_on(self, backend: LocalBackend) -> None:
        spec = make_spec("sleep 60", seconds=2)
        backend.submit(spec)
        backend.pause(spec.external_name)
        assert ended(backend, spec.external_name).reason is EndReason.TIME_LIMIT

    def test_what_lost_its_supervisor_while_paused_is_gone(
        self, backend: LocalBackend, root: Path
    ) -> None:
        spec = make_spec("echo ready; sleep 60")
        backend.submit(spec)
        backend.pause(spec.external_name)
        self.paused(backend, spec.external_name, is_paused=True)
        state = state_of(root, spec.external_name)
        assert isinstance(state["supervisor"], dict)
        os.kill(state["supervisor"]["pid"], signal.SIGKILL)
        assert ended(backend, spec.external_name).reason is EndReason.NODE_LOST
        wait_for(lambda: not Path(f"/proc/{state['inner_pid']}").exists())

    def test_pausing_what_is_unknown_or_ended_changes_nothing(self, backend: LocalBackend) -> None:
        spec = make_spec("true")
        end = run(backend, spec)
        for name in (spec.external_name, "fg-never-was"):
            backend.pause(name)
            backend.resume(name)
        handles = [Handle(spec.external_name), Handle("fg-never-was")]
        assert backend.observe(handles).seen == {spec.external_name: end}


@pytest.mark.sandbox
@needs_root
class TestGpus:
    """Device nodes of GPUs, with character devices that stand for them."""

    @pytest.fixture
    def nodes(self) -> Iterator[list[Path]]:
        """Nodes like /dev/nvidia0 and 1 in a folder that every uid can enter."""
        folder = Path(tempfile.mkdtemp(prefix="fastgpu-nodes-"))
        folder.chmod(0o755)
        made = [folder / f"nvidia{minor}" for minor in range(2)]
        for minor, node in enumerate(made):
            os.mknod(node, 0o20666, os.makedev(195, minor))
            node.chmod(0o666)
        yield made
        shutil.rmtree(folder)

    def test_an_attempt_sees_its_own_alone(self, root: Path, nodes: list[Path]) -> None:
        def discover(top: Path, count: int) -> list[gpus.Gpu]:
            return [
                gpus.Gpu(replace(gpu.description, is_virtual=False), node)
                for gpu, node in zip(gpus.virtual(top, 2), nodes, strict=True)
            ]

        backend = LocalBackend(settings_of(root), discover)
        uuid = discover(root / "local", 2)[1].description.uuid
        code = "import os\ntry: os.open('/dev/nvidia1', 2)\nexcept OSError as e: print(e.errno)"
        command = f'ls /dev | grep nvidia; python3 -c "{code}"; echo $CUDA_VISIBLE_DEVICES'
        spec = replace(make_spec(command), gpus=1, gpu_uuids=(uuid,))
        run(backend, spec)
        # ENXIO: it may be opened, there is only no driver behind it.
        assert log_of(backend, spec.external_name).decode() == f"nvidia1\n6\n{uuid}\n"


@pytest.mark.sandbox
class TestOneNode:
    """What a run finds that is written for many nodes."""

    def test_torchruns_variables_are_set(self, backend: LocalBackend) -> None:
        spec = replace(
            make_spec(
                "echo $NNODES $NODE_RANK $MASTER_ADDR $PET_NNODES $PET_NODE_RANK "
                "$PET_NPROC_PER_NODE $PET_MASTER_ADDR; test $MASTER_PORT = $PET_MASTER_PORT"
            ),
            gpus=2,
        )
        assert run(backend, spec).exit_code == 0
        assert log_of(backend, spec.external_name) == b"1 0 127.0.0.1 1 0 2 127.0.0.1\n"

    def test_several_nodes_are_refused(self, backend: LocalBackend) -> None:
        with pytest.raises(LaunchRefused, match="one machine"):
            backend.submit(replace(make_spec("true"), nodes=2))

    def test_the_code_that_asks_for_a_requeue_is_passed_on(self, backend: LocalBackend) -> None:
        assert run(backend, make_spec(f"exit {REQUEUE_EXIT_CODE}")).exit_code == 75


@pytest.mark.sandbox
def test_what_runs_and_was_not_asked_after_is_a_stray(backend: LocalBackend) -> None:
    asked, forgotten, over = make_spec("sleep 60"), make_spec("sleep 60"), make_spec("true")
    run(backend, over)
    backend.submit(asked)
    backend.submit(forgotten)
    survey = backend.observe([Handle(asked.external_name)])
    assert set(survey.seen) == {asked.external_name}
    assert survey.strays == (forgotten.external_name,)


@pytest.mark.sandbox
class TestSurvival:
    """What happens when processes of the portal or of the attempt die."""

    def test_attempt_survives_the_killing_of_its_submitter(
        self, backend: LocalBackend, root: Path
    ) -> None:
        portal = subprocess.Popen(
            [sys.executable, "-c", SUBMIT, str(root)],
            stdout=subprocess.PIPE,
            start_new_session=True,
            cwd=Path(__file__).parents[3],
        )
        assert portal.stdout is not None
        assert portal.stdout.readline() == b"submitted\n"
        os.killpg(portal.pid, signal.SIGKILL)
        portal.wait()
        portal.stdout.close()
        end = ended(backend, "fg-orphan")
        assert end.reason is EndReason.COMPLETED
        assert log_of(backend, "fg-orphan") == b"begun\nfinished\n"

    def test_killed_supervisor_is_node_lost_and_takes_the_attempt_along(
        self, backend: LocalBackend, root: Path
    ) -> None:
        spec = make_spec("echo begun; sleep 60")
        started = backend.submit(spec)
        log_holds(backend, spec.external_name, b"begun\n")
        state = state_of(root, spec.external_name)
        supervisor = state["supervisor"]
        assert isinstance(supervisor, dict)
        os.kill(supervisor["pid"], signal.SIGKILL)
        end = ended(backend, spec.external_name)
        assert end.reason is EndReason.NODE_LOST
        assert end.started_at == started.started_at
        assert end.ended_at is not None
        assert end.ended_at.timestamp() <= time.time()
        wait_for(lambda: not Path(f"/proc/{state['inner_pid']}").exists())
        assert backend.submit(spec) == end

    def test_half_made_attempt_is_absent_and_then_started_once(
        self, backend: LocalBackend, root: Path
    ) -> None:
        spec = make_spec("echo once")
        (root / "local" / "attempts" / spec.external_name).mkdir(parents=True)
        assert look(backend, spec.external_name) is None
        assert run(backend, spec).reason is EndReason.COMPLETED
        assert log_of(backend, spec.external_name) == b"once\n"

    def test_stop_before_the_start_never_runs(self, backend: LocalBackend, root: Path) -> None:
        spec = make_spec("echo ran")
        (root / "local" / "attempts" / spec.external_name).mkdir(parents=True)
        backend.stop(spec.external_name, grace_seconds=5)
        assert run(backend, spec).reason is EndReason.STOPPED
        assert log_of(backend, spec.external_name) == b""

    def test_nothing_is_left_but_the_folder(self, backend: LocalBackend, root: Path) -> None:
        spec = make_spec("sleep 60 & disown; echo begun")
        run(backend, spec)
        folder = root / "local" / "attempts" / spec.external_name
        groups = json.loads((folder / "spec.json").read_text())["cgroups"]
        assert not (folder / "placement.json").exists()
        wait_for(lambda: not any(Path(path).exists() for path in groups.values()))

    def test_placement_names_the_live_supervisor(self, backend: LocalBackend, root: Path) -> None:
        spec = make_spec("sleep 60")
        backend.submit(spec)
        folder = root / "local" / "attempts" / spec.external_name
        placement = json.loads((folder / "placement.json").read_text())
        assert placement["supervisor"] == state_of(root, spec.external_name)["supervisor"]
        assert placement["external_name"] == spec.external_name
        assert Path(f"/proc/{placement['supervisor']['pid']}").exists()

    def test_sandbox_that_cannot_start_says_why(self, backend: LocalBackend, root: Path) -> None:
        prefix = root / "environments" / "odd"
        (prefix / "bin").mkdir(parents=True)
        (prefix / "bin" / "python").write_bytes(b"")
        (prefix / "pyvenv.cfg").write_text("home = /nowhere/bin\n")
        spec = make_spec("echo ran", environment="odd")
        end = run(backend, spec)
        assert (end.reason, end.exit_code) == (EndReason.START_FAILED, None)
        assert "/nowhere" in end.detail
        assert b"ran" not in log_of(backend, spec.external_name)


@pytest.mark.sandbox
class TestEnvironments:
    """Prefixes with a Python of their own."""

    def test_venv_python_and_its_modules_work(self, backend: LocalBackend, root: Path) -> None:
        prefix = root / "environments" / "lab"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", prefix], check=True)
        site = next((prefix / "lib").glob("python3*/site-packages"))
        (site / "lab_module.py").write_text("print('in the lab')")
        spec = make_spec(
            "python -m lab_module; python -c 'import sys, ssl; print(sys.prefix)'",
            environment="lab",
        )
        run(backend, spec)
        log = log_of(backend, spec.external_name)
        assert log == b"in the lab\n/opt/environments/lab\n"

    @pytest.mark.parametrize("slug", ["../x", "/etc", "a/b", "..", "never-built"])
    def test_slug_is_no_path(self, backend: LocalBackend, slug: str) -> None:
        with pytest.raises(LaunchRefused) as refused:
            backend.submit(make_spec("true", environment=slug))
        assert refused.value.reason is EndReason.IMAGE_MISSING


class TestWithoutBubblewrap:
    """A machine that cannot sandbox."""

    @pytest.fixture(autouse=True)
    def _no_bwrap(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))

    def test_it_refuses_and_says_how_to_mend(self, root: Path) -> None:
        backend = LocalBackend(settings_of(root))
        health = backend.health({})
        assert not health.may_start
        assert health.isolation == "none"
        assert "apt-get install bubblewrap" in health.detail
        with pytest.raises(LaunchRefused, match="bubblewrap"):
            backend.submit(make_spec("true"))

    def test_insecure_runs_and_says_so(self, root: Path) -> None:
        backend = LocalBackend(settings_of(root, allow_insecure=True))
        assert backend.health({}).isolation == "none (insecure)"
        spec = make_spec("echo here; exit 4")
        end = run(backend, spec)
        assert (end.reason, end.exit_code) == (EndReason.USER_ERROR, 4)
        assert log_of(backend, spec.external_name) == b"here\n"


def test_virtual_gpus_are_stable_and_say_what_they_are(tmp_path: Path) -> None:
    first = [gpu.description for gpu in gpus.virtual(tmp_path, 4)]
    assert first == [gpu.description for gpu in gpus.virtual(tmp_path, 4)]
    assert {gpu.model for gpu in first} == {"NVIDIA A100-SXM4-40GB (virtual)"}
    assert all(gpu.is_virtual and gpu.uuid.startswith("GPU-virtual-") for gpu in first)


def test_gpu_of_another_machine_is_refused(root: Path) -> None:
    spec = replace(make_spec("true"), gpu_uuids=("GPU-elsewhere",))
    with pytest.raises(LaunchRefused, match="GPU-elsewhere"):
        LocalBackend(settings_of(root)).submit(spec)


@pytest.mark.sandbox
def test_a_thousand_attempts_are_seen_in_one_look(backend: LocalBackend, root: Path) -> None:
    spec = make_spec("true")
    run(backend, spec)
    attempts = root / "local" / "attempts"
    for index in range(1000):
        folder = attempts / f"copy-{index}"
        folder.mkdir()
        shutil.copy(attempts / spec.external_name / "state.json", folder / "state.json")
    seen = backend.observe(Handle(f"copy-{index}") for index in range(1000)).seen
    assert len(seen) == 1000
