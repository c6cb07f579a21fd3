"""Servers that stand by, and become attempts that nothing tells from others."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from clusters.backends.base import (
    Backend,
    EndReason,
    LaunchSpec,
    Phase,
    ReadFolder,
)
from clusters.backends.capabilities import StandbyWish
from clusters.backends.local import gpus, uids
from clusters.backends.local.backend import LocalBackend
from tests.clusters.backends.browser import looking
from tests.clusters.backends.machine import (
    UID_BASE,
    ending_all,
    needs_root,
    settings_of,
    state_of,
)
from tests.clusters.backends.standing import (
    LIMITS,
    SERVER,
    Claiming,
    serving,
    stand_by,
    was_claimed,
    wish,
)
from tests.contracts.backend import (
    MIB,
    BackendContract,
    ended,
    log_holds,
    log_of,
    make_spec,
    run,
    wait_for,
)
from tests.contracts.standby import StandbyContract, StandbyEngine
from tests.stacks.environments import OURS, prepared

pytestmark = [pytest.mark.sandbox, needs_root]


@pytest.fixture
def backend(root: Path) -> Iterator[LocalBackend]:
    """A local backend of which at the end nothing runs and nothing stands by."""
    made = LocalBackend(settings_of(root))
    with ending_all(made, root):
        yield made
        ends_all(made, root)


def ends_all(backend: LocalBackend, root: Path) -> None:
    """Nothing stands by any more."""
    folder = root / "local" / "standby"

    def is_empty() -> bool:
        backend.keep_standbys([])
        return not list(folder.glob("*-*"))

    wait_for(is_empty)


class TestContract(BackendContract):
    """The contract, for attempts each of which stood by before."""

    @pytest.fixture
    def backend(self, root: Path) -> Iterator[Backend]:
        """A backend that claims for each attempt."""
        made = Claiming(settings_of(root))
        with ending_all(made, root):
            yield made
            ends_all(made, root)


class TestStandbyContract(StandbyContract):
    """The contract of what stands by, on this machine."""

    @pytest.fixture
    def engine(self, backend: LocalBackend, rebuild: Callable[[], None]) -> StandbyEngine:
        """With an environment that is there."""
        rebuild()
        return cast(StandbyEngine, backend)

    @pytest.fixture
    def wish(self) -> StandbyWish:
        """One."""
        return wish("lab")

    @pytest.fixture
    def spec(self) -> Callable[[], LaunchSpec]:
        """What such a server can become."""
        return lambda: serving(make_spec("sleep 60", environment="lab"))

    @pytest.fixture
    def claimed(self, root: Path) -> Callable[[LaunchSpec], bool]:
        """By what is in its folder."""
        return lambda spec: was_claimed(root / "local", spec.external_name)

    @pytest.fixture
    def rebuild(self, root: Path) -> Callable[[], None]:
        """A new virtual environment in the place of the old one."""

        def build() -> None:
            prefix = root / "environments" / "lab"
            shutil.rmtree(prefix, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", "--without-pip", prefix], check=True)

        return build


def standing(root: Path) -> list[Path]:
    """Folders of what stands by."""
    return sorted((root / "local" / "standby").glob("[!.]*"))


def started(backend: LocalBackend, root: Path, command: str, **about: object) -> str:
    """Claim what stands by for a command that says `ready`; the attempt's name."""
    stand_by(backend, wish())
    spec = serving(make_spec(f"echo ready; {command}", **about))  # type: ignore[arg-type]
    backend.submit(spec)
    assert was_claimed(root / "local", spec.external_name)
    log_holds(backend, spec.external_name, b"ready\n")
    return spec.external_name


class TestClaim:
    """What an attempt finds that stood by."""

    def test_it_has_begun_when_submit_returns(self, backend: LocalBackend, root: Path) -> None:
        stand_by(backend, wish())
        before = time.time()
        spec = serving(make_spec("sleep 60"))
        seen = backend.submit(spec)
        assert was_claimed(root / "local", spec.external_name)
        assert seen.phase is Phase.RUNNING
        assert seen.started_at is not None
        assert before <= seen.started_at.timestamp() <= time.time()
        assert standing(root) == []

    def test_nothing_of_before_is_in_its_log_and_home(
        self, backend: LocalBackend, root: Path
    ) -> None:
        spec = serving(make_spec("ls -A; echo and that is all"))
        stand_by(backend, wish())
        run(backend, spec)
        assert log_of(backend, spec.external_name) == b"checkpoints\nand that is all\n"
        folder = root / "local" / "attempts" / spec.external_name
        assert b"not the attempt" in (folder / "standby.log").read_bytes()

    def test_its_variables_are_the_specs(self, backend: LocalBackend, root: Path) -> None:
        command = "env -0 | sort -z | tr '\\0' '\\n' | grep -vE '^(_|SHLVL|OLDPWD|RUN|PWD)='"
        env = {"A": "a=b\n c", "PYTHONPATH": "/home/run/lib", "FASTGPU_RUN_ID": "x"}
        warm = started(backend, root, command, env=env)
        cold = serving(make_spec(f"echo ready; {command}", env=env))
        run(backend, cold)
        ended(backend, warm)

        def variables(name: str) -> bytes:
            """Without what each attempt has of its own."""
            return re.sub(rb"(TOKEN|PORT)=\S+", b"", log_of(backend, name))

        assert b"A=a=b\n c\n" in variables(warm)
        assert variables(warm) == variables(cold.external_name)

    def test_volume_and_checkpoints_are_the_teams_on_disk(
        self, backend: LocalBackend, root: Path
    ) -> None:
        backend.make_volume("data", team_number=42)
        stand_by(backend, wish())
        command = (
            "pwd; echo 41 > step; mkdir d; chmod 700 d; echo 1 > $FASTGPU_CHECKPOINT_DIR/one; "
            "id -u; stat -c %u . step ~/checkpoints/one; echo x > ~/out"
        )
        spec = replace(serving(make_spec(command, team=42)), volume="data")
        assert run(backend, spec).reason is EndReason.COMPLETED
        pwd, *numbers = log_of(backend, spec.external_name).decode().split()
        assert pwd == "/workspace"
        (uid,) = set(numbers)
        assert int(uid) in uids.slot_uids(UID_BASE)
        team = UID_BASE + 42
        workspace = backend.volume_path("data")
        assert {path.stat().st_uid for path in workspace.iterdir()} == {team}
        folders = backend.folders_of(spec.external_name)
        assert folders["workspace"] == workspace
        assert (folders["checkpoints"] / "one").stat().st_uid == team
        listed = [file.path for file in backend.list_files(spec.external_name)]
        assert listed == ["checkpoints/one", "out"]
        # And the team's next attempt, for which nothing stands by, finds it as its own.
        cold = replace(
            make_spec("cat step ~/checkpoints/one; echo 42 > step", team=42), volume="data"
        )
        run(backend, cold)
        assert log_of(backend, cold.external_name) == b"41\n1\n"

    def test_what_it_leaves_is_shown_to_another_of_the_team_as_its_own(
        self, backend: LocalBackend, root: Path
    ) -> None:
        name = started(backend, root, "umask 077; mkdir logs; echo loss > logs/events", team=7)
        ended(backend, name)
        home = backend.folders_of(name)["home"]
        board = replace(
            make_spec("cat /logs/logs/events; stat -c %u /logs/logs; touch /logs/x || echo no"),
            reads=(ReadFolder(str(home), "/logs"),),
        )
        run(backend, board)
        read, owner, *_, last = log_of(backend, board.external_name).decode().splitlines()
        assert (read, owner, last) == ("loss", str(UID_BASE + 7), "no")

    def test_without_a_volume_its_workspace_is_its_home(
        self, backend: LocalBackend, root: Path
    ) -> None:
        command = "echo x > ~/file; ls /workspace; echo [$FASTGPU_WORKSPACE]"
        name = started(backend, root, command)
        ended(backend, name)
        assert log_of(backend, name) == b"ready\ncheckpoints\nfile\n[]\n"

    def test_its_limits_are_the_specs(self, backend: LocalBackend, root: Path) -> None:
        command = (
            "python3 -c 'x = bytearray(150_000_000)' && echo had memory; "
            "head -c 12M /dev/zero > ~/big && echo had disk; df -B1 --output=size /tmp /dev/shm; "
            "ulimit -f"
        )
        name = started(backend, root, command, memory=256 * MIB)
        assert ended(backend, name).reason is EndReason.COMPLETED
        sizes = [b"1B-blocks", str(64 * MIB).encode(), str(128 * MIB).encode()]
        said = log_of(backend, name).split(b"\n")
        assert said[1:3] == [b"had memory", b"had disk"]
        assert [line.strip() for line in said[3:6]] == sizes
        # In units of 1 KiB.
        assert said[6] == str(32 * 1024).encode()

    def test_memory_above_the_specs_is_too_much(self, backend: LocalBackend, root: Path) -> None:
        name = started(backend, root, "python3 -c 'x = bytearray(400_000_000)'")
        assert ended(backend, name).reason is EndReason.OUT_OF_MEMORY

    def test_the_time_limit_begins_with_the_claim(self, backend: LocalBackend, root: Path) -> None:
        stand_by(backend, wish())
        time.sleep(1.2)
        spec = serving(make_spec("sleep 60", seconds=1))
        end = run(backend, spec)
        assert was_claimed(root / "local", spec.external_name)
        assert end.reason is EndReason.TIME_LIMIT
        assert end.started_at is not None
        assert end.ended_at is not None
        assert (end.ended_at - end.started_at).total_seconds() >= 1.0

    def test_it_is_reached_at_its_endpoint_and_has_a_terminal(
        self, backend: LocalBackend, root: Path
    ) -> None:
        (root / "environments").mkdir()
        (root / "environments" / "tools").symlink_to(prepared("tools", OURS) / "tools")
        name = started(backend, root, "sleep 60", env={"COLOUR": "blue"})
        lab = backend.endpoint(name, "lab")
        assert lab is not None
        assert lab.owner_uid in uids.slot_uids(UID_BASE)
        assert Path(lab.socket).stat().st_uid == lab.owner_uid
        backend.open_terminal(name)
        endpoint = backend.endpoint(name, "terminal")
        assert endpoint is not None
        with looking(endpoint) as browser:
            assert browser.asks("echo $COLOUR $FASTGPU_RUN_ID; id -u") == (
                f"blue run-1\n{lab.owner_uid}\n"
            )

    def test_it_is_measured_as_what_it_is(self, backend: LocalBackend, root: Path) -> None:
        stand_by(backend, wish())
        (folder,) = standing(root)
        assert not (folder / "placement.json").exists()
        spec = serving(make_spec("sleep 60"))
        backend.submit(spec)
        placed = root / "local" / "attempts" / spec.external_name / "placement.json"
        placement = json.loads(placed.read_text())
        assert placement["external_name"] == spec.external_name
        assert placement["supervisor"] == state_of(root, spec.external_name)["supervisor"]
        assert backend.observe([]).strays == (spec.external_name,)

    def test_a_gpu_is_seen_that_was_not_before(self, backend: LocalBackend, root: Path) -> None:
        nodes = root / "nodes"
        nodes.mkdir()
        for minor in range(2):
            os.mknod(nodes / f"nvidia{minor}", 0o20666, os.makedev(195, minor))
            (nodes / f"nvidia{minor}").chmod(0o666)

        def discover(top: Path, count: int) -> list[gpus.Gpu]:
            return [
                gpus.Gpu(replace(gpu.description, is_virtual=False), nodes / f"nvidia{minor}")
                for minor, gpu in enumerate(gpus.virtual(top, count))
            ]

        seeing = LocalBackend(settings_of(root), discover)
        uuid = discover(root / "local", 2)[1].description.uuid
        code = "import os\ntry: os.open('/dev/nvidia1', 2)\nexcept OSError as e: print(e.errno)"
        command = (
            f'ls /dev | grep nvidia; python3 -c "{code}"; echo $CUDA_VISIBLE_DEVICES; '
            "touch /dev/x /dev/nvidia0 || echo refused"
        )
        stand_by(seeing, wish())
        spec = replace(serving(make_spec(command)), gpus=1, gpu_uuids=(uuid,))
        run(seeing, spec)
        assert was_claimed(root / "local", spec.external_name)
        # ENXIO: it may be opened, there is only no driver behind it.
        lines = log_of(seeing, spec.external_name).decode().splitlines()
        assert lines[:3] == ["nvidia1", "6", uuid]
        assert lines[-1] == "refused"


class TestFit:
    """What stands by is taken for what it was started for, and for nothing else."""

    @pytest.mark.parametrize(
        "change",
        [
            {"command": f"{SERVER} "},
            {"network": True},
            {"serves": False},
            {"reads": (ReadFolder("/usr", "/data"),)},
        ],
        ids=lambda change: next(iter(change)),
    )
    def test_another_spec_starts_cold(
        self, backend: LocalBackend, root: Path, change: dict[str, object]
    ) -> None:
        stand_by(backend, wish())
        spec = serving(make_spec("echo ran"))
        if change.get("serves") is False:
            spec = replace(spec, command="echo ran")
        spec = replace(spec, **change)  # type: ignore[arg-type]
        run(backend, spec)
        assert not was_claimed(root / "local", spec.external_name)
        assert log_of(backend, spec.external_name) == b"ran\n"
        assert len(standing(root)) == 1

    def test_what_does_not_answer_yet_is_not_taken(self, backend: LocalBackend, root: Path) -> None:
        slow = SERVER.replace("import os", "import time; time.sleep(3); import os")
        assert backend.keep_standbys([wish(command=slow)])[0].starting == 1
        spec = replace(serving(make_spec("echo ran")), command=slow)
        run(backend, spec)
        assert not was_claimed(root / "local", spec.external_name)

    def test_of_two_claimers_each_has_an_attempt_and_one_is_warm(
        self, backend: LocalBackend, root: Path
    ) -> None:
        stand_by(backend, wish())
        specs = [serving(make_spec("echo ran")) for _ in range(6)]
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(backend.submit, specs))
        for spec in specs:
            assert ended(backend, spec.external_name).reason is EndReason.COMPLETED
            assert log_of(backend, spec.external_name) == b"ran\n"
        assert sum(was_claimed(root / "local", spec.external_name) for spec in specs) == 1

    def test_one_attempt_that_is_submitted_often_takes_one(
        self, backend: LocalBackend, root: Path
    ) -> None:
        stand_by(backend, wish(count=3))
        spec = serving(make_spec("echo ran; sleep 1"))
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(lambda _: backend.submit(spec), range(6)))
        assert len(standing(root)) == 2
        ended(backend, spec.external_name)
        assert log_of(backend, spec.external_name) == b"ran\n"


class TestWhereItCannotBe:
    """A file system that cannot show files as another uid's."""

    @pytest.fixture
    def volumes(self, root: Path) -> Iterator[Path]:
        """Volumes on a file system without idmapped mounts."""
        folder = root / "local" / "volumes"
        folder.mkdir(parents=True)
        subprocess.run(["mount", "-t", "ramfs", "none", folder], check=True)
        yield folder
        subprocess.run(["umount", folder], check=True)

    def test_nothing_stands_by_and_all_starts_cold(self, volumes: Path, root: Path) -> None:
        backend = LocalBackend(settings_of(root))
        backend.make_volume("data", team_number=7)
        health = backend.health({})
        assert health.may_start
        assert "cannot be mounted idmapped" in health.detail
        (state,) = backend.keep_standbys([wish()])
        assert (state.ready, state.starting) == (0, 0)
        spec = replace(serving(make_spec("echo ran > file")), volume="data")
        assert run(backend, spec).reason is EndReason.COMPLETED
        assert (volumes / "data" / "file").read_text() == "ran\n"


class TestKeeping:
    """How many there are, and that they are still good."""

    def test_there_are_as_many_as_wished_and_then_none(
        self, backend: LocalBackend, root: Path
    ) -> None:
        stand_by(backend, wish(count=3))
        backend.keep_standbys([wish(count=3)])
        assert len(standing(root)) == 3
        stand_by(backend, wish(count=1))
        assert len(standing(root)) == 1
        ends_all(backend, root)
        assert backend.keep_standbys([]) == []
        wait_for(lambda: not processes_of_slots())

    def test_each_has_a_uid_of_its_own_that_is_no_teams(
        self, backend: LocalBackend, root: Path
    ) -> None:
        stand_by(backend, wish(count=3))
        found = {json.loads((f / "spec.json").read_text())["uid"] for f in standing(root)}
        assert len(found) == 3
        assert found <= set(uids.slot_uids(UID_BASE))
        assert processes_of_slots() >= found
        teams = {uids.team_uid(UID_BASE, number) for number in range(1, 120_000)}
        assert len(teams) == 119_999
        assert not teams & set(uids.slot_uids(UID_BASE))

    def test_a_uid_is_not_used_again_while_a_process_has_it(
        self, backend: LocalBackend, root: Path
    ) -> None:
        slots = list(uids.slot_uids(UID_BASE))
        held = [
            subprocess.Popen(["sleep", "60"], user=uid, group=uid, extra_groups=[])
            for uid in slots[:2]
        ]
        few = LocalBackend(settings_of(root))
        try:
            for _ in range(3):
                stand_by(few, wish())
                (folder,) = standing(root)
                assert json.loads((folder / "spec.json").read_text())["uid"] not in slots[:2]
                ends_all(few, root)
        finally:
            for process in held:
                process.kill()
                process.wait()

    def test_one_that_dies_is_replaced(self, backend: LocalBackend, root: Path) -> None:
        stand_by(backend, wish())
        (before,) = standing(root)
        # It stood well for a while, so this is no reason to wait.
        _age(before, 3600)
        kill_supervisor(before)
        wait_for(lambda: backend.keep_standbys([wish()]) and before not in standing(root))
        stand_by(backend, wish())
        wait_for(lambda: len(processes_of_slots()) == 1)

    def test_one_that_is_too_old_is_replaced(self, backend: LocalBackend, root: Path) -> None:
        stand_by(backend, wish())
        (before,) = standing(root)
        _age(before, 25 * 3600)
        wait_for(lambda: backend.keep_standbys([wish()]) and before not in standing(root))
        stand_by(backend, wish())

    def test_other_limits_make_another(self, backend: LocalBackend, root: Path) -> None:
        stand_by(backend, wish())
        (before,) = standing(root)
        larger = replace(wish(), limits=replace(LIMITS, memory_bytes=128 * MIB))
        stand_by(backend, larger)
        assert before not in standing(root)
        assert len(standing(root)) == 1

    def test_its_memory_is_limited(self, backend: LocalBackend, root: Path) -> None:
        stand_by(backend, wish())
        (folder,) = standing(root)
        groups = json.loads((folder / "spec.json").read_text())["cgroups"]
        name = "memory.max" if "unified" in groups else "memory.limit_in_bytes"
        group = Path(groups.get("unified") or groups["memory"])
        assert int((group / name).read_text()) == 64 * MIB

    def test_what_cannot_start_is_not_tried_all_the_time_and_says_why(
        self, backend: LocalBackend, root: Path
    ) -> None:
        broken = wish(command="echo no such module: jupyterlab; exit 1")
        backend.keep_standbys([broken])

        def is_told() -> bool:
            backend.keep_standbys([broken])
            return "no such module: jupyterlab" in backend.health({}).detail

        wait_for(is_told)
        assert backend.health({}).may_start
        for _ in range(3):
            assert backend.keep_standbys([broken])[0].starting == 0
        assert standing(root) == []

    def test_what_no_portal_wants_any_more_ends_by_itself(
        self, backend: LocalBackend, root: Path
    ) -> None:
        stand_by(backend, wish())
        (folder,) = standing(root)
        long_ago = time.time() - 3600
        os.utime(folder / "wanted", (long_ago, long_ago))
        wait_for(lambda: not processes_of_slots())
        assert standing(root) == []

    def test_two_processes_of_the_portal_keep_no_more_than_wished(
        self, backend: LocalBackend, root: Path
    ) -> None:
        backends = [LocalBackend(settings_of(root)) for _ in range(4)]
        with ThreadPoolExecutor(4) as pool:
            for _ in range(5):
                list(pool.map(lambda one: one.keep_standbys([wish(count=2)]), backends))
        stand_by(backend, wish(count=2))
        assert len(standing(root)) == 2

    def test_its_folder_is_the_portals_alone(self, backend: LocalBackend, root: Path) -> None:
        stand_by(backend, wish())
        (folder,) = standing(root)
        for path in (folder.parent, folder):
            assert (stat.S_IMODE(path.stat().st_mode), path.stat().st_uid) == (0o700, 0)


def processes_of_slots() -> set[int]:
    """Uids of what stands by that some process has."""
    slots = uids.slot_uids(UID_BASE)
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            uid = process.stat().st_uid
            if uid in slots and (process / "cmdline").read_bytes():
                found.add(uid)
        except OSError:
            continue
    return found


def kill_supervisor(folder: Path) -> None:
    """As the kernel does when memory runs out."""
    supervisor = json.loads((folder / "state.json").read_text())["supervisor"]
    os.kill(supervisor["pid"], signal.SIGKILL)


def _age(folder: Path, seconds: float) -> None:
    """Let it have been made so long ago."""
    spec = json.loads((folder / "spec.json").read_text())
    spec["standby"]["made_at"] -= seconds
    (folder / "spec.json").write_text(json.dumps(spec))
