"""What every backend must do, as a class of tests that each backend's own tests inherit."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import TypeVar

import pytest

from clusters.backends.base import (
    Backend,
    EndReason,
    Handle,
    LaunchRefused,
    LaunchSpec,
    Limits,
    Observation,
    Phase,
)

MIB = 1024**2
_serial = count()
T = TypeVar("T")


def make_spec(  # one argument a knob of the launch
    command: str,
    *,
    name: str = "",
    team: int = 7,
    seconds: int = 30,
    network: bool = False,
    environment: str = "",
    memory: int = 256 * MIB,
    env: Mapping[str, str] | None = None,
) -> LaunchSpec:
    """A launch with small limits and a name of its own."""
    return LaunchSpec(
        external_name=name or f"fg-test-{time.time_ns()}-{next(_serial)}",
        run_id="run-1",
        attempt_number=2,
        team_number=team,
        gpus=0,
        gpu_uuids=(),
        environment=environment,
        command=command,
        time_limit_seconds=seconds,
        grace_seconds=1,
        network=network,
        limits=Limits(
            memory_bytes=memory, pids=64, cpu_cores=1.0, disk_bytes=32 * MIB, log_bytes=1 * MIB
        ),
        env=env or {},
    )


def wait_for(
    condition: Callable[[], T], seconds: float = 60.0, *, why: Callable[[], str] = str
) -> T:
    """The first true answer of `condition`; fails after `seconds` with what `why` tells."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = condition()
        if answer:
            return answer
        time.sleep(0.02)
    pytest.fail(f"not true within {seconds} s\n{why()}".strip())


def running(backend: Backend, name: str, seconds: float = 30.0) -> Observation:
    """Waits until the attempt runs somewhere."""

    def look_for_start() -> Observation | None:
        seen = look(backend, name)
        return seen if seen and seen.phase is Phase.RUNNING and seen.node else None

    found = wait_for(look_for_start, seconds)
    assert found is not None
    return found


def look(backend: Backend, name: str) -> Observation | None:
    """What the engine says of one attempt now."""
    return backend.observe([Handle(name)]).seen.get(name)


def ended(backend: Backend, name: str) -> Observation:
    """The attempt's end, waited for."""

    def look_for_end() -> Observation | None:
        seen = look(backend, name)
        return seen if seen and seen.phase is Phase.ENDED else None

    found = wait_for(look_for_end)
    assert found is not None
    return found


def log_of(backend: Backend, name: str) -> bytes:
    """The whole log as it stands."""
    return backend.read_log(name, offset=0, limit=64 * MIB).data


def log_holds(backend: Backend, name: str, words: bytes) -> None:
    """Wait until the log holds `words`."""
    wait_for(lambda: words in log_of(backend, name))


def run(backend: Backend, spec: LaunchSpec) -> Observation:
    """Submit and wait for the end."""
    backend.submit(spec)
    return ended(backend, spec.external_name)


class BackendContract:
    """Inherit and give a `backend` fixture."""

    def test_success_has_times_in_order_and_code_0(self, backend: Backend) -> None:
        end = run(backend, make_spec("true"))
        assert (end.reason, end.exit_code) == (EndReason.COMPLETED, 0)
        assert end.started_at is not None
        assert end.ended_at is not None
        assert end.started_at <= end.ended_at

    def test_exit_code_is_kept(self, backend: Backend) -> None:
        end = run(backend, make_spec("exit 37"))
        assert (end.reason, end.exit_code) == (EndReason.USER_ERROR, 37)

    def test_both_outputs_reach_the_log(self, backend: Backend) -> None:
        spec = make_spec("echo out; echo err >&2")
        run(backend, spec)
        assert log_of(backend, spec.external_name) == b"out\nerr\n"

    def test_log_is_read_by_offset_and_complete_only_at_its_end(self, backend: Backend) -> None:
        spec = make_spec("printf 0123456789")
        run(backend, spec)
        first = backend.read_log(spec.external_name, offset=0, limit=4)
        rest = backend.read_log(spec.external_name, offset=first.next_offset, limit=100)
        past = backend.read_log(spec.external_name, offset=50, limit=100)
        assert (first.data, first.complete) == (b"0123", False)
        assert (rest.data, rest.complete) == (b"456789", True)
        assert (past.data, past.next_offset, past.complete) == (b"", 50, True)

    def test_log_of_a_running_attempt_is_not_complete(self, backend: Backend) -> None:
        spec = make_spec("echo here; sleep 60")
        backend.submit(spec)
        log_holds(backend, spec.external_name, b"here\n")
        assert not backend.read_log(spec.external_name, offset=0, limit=100).complete
        backend.stop(spec.external_name, grace_seconds=0)
        ended(backend, spec.external_name)

    def test_submitting_again_adopts(self, backend: Backend) -> None:
        spec = make_spec("echo once; sleep 60")
        backend.submit(spec)
        log_holds(backend, spec.external_name, b"once\n")
        assert backend.submit(spec).phase is Phase.RUNNING
        backend.stop(spec.external_name, grace_seconds=0)
        end = ended(backend, spec.external_name)
        assert backend.submit(spec) == end
        assert log_of(backend, spec.external_name) == b"once\n"

    def test_concurrent_submits_of_one_name_run_once(self, backend: Backend) -> None:
        spec = make_spec("echo once; sleep 0.3")
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(lambda _: backend.submit(spec), range(6)))
        ended(backend, spec.external_name)
        assert log_of(backend, spec.external_name) == b"once\n"

    def test_stop_lets_the_command_save_its_work(self, backend: Backend) -> None:
        spec = make_spec(
            "cat > t.py <<'E'\n"
            "import signal, sys, time\n"
            "def end(*_):\n    time.sleep(0.3); open('saved', 'w').write('yes'); sys.exit(0)\n"
            "signal.signal(signal.SIGTERM, end)\nprint('ready', flush=True)\ntime.sleep(60)\n"
            "E\npython3 t.py\necho after"
        )
        backend.submit(spec)
        log_holds(backend, spec.external_name, b"ready\n")
        backend.stop(spec.external_name, grace_seconds=10)
        assert ended(backend, spec.external_name).reason is EndReason.STOPPED
        with backend.open_file(spec.external_name, "saved") as file:
            assert file.read() == b"yes"

    def test_stop_kills_what_ignores_sigterm(self, backend: Backend) -> None:
        spec = make_spec("trap '' TERM; echo ready; while true; do sleep 1; done")
        backend.submit(spec)
        log_holds(backend, spec.external_name, b"ready\n")
        backend.stop(spec.external_name, grace_seconds=1)
        backend.stop(spec.external_name, grace_seconds=1)
        assert ended(backend, spec.external_name).reason is EndReason.STOPPED

    def test_stopping_what_is_unknown_or_ended_changes_nothing(self, backend: Backend) -> None:
        spec = make_spec("true")
        end = run(backend, spec)
        backend.stop(spec.external_name, grace_seconds=0)
        backend.stop("fg-never-was", grace_seconds=0)
        handles = [Handle(spec.external_name), Handle("fg-never-was")]
        assert backend.observe(handles).seen == {spec.external_name: end}

    def test_time_limit_ends_it(self, backend: Backend) -> None:
        assert run(backend, make_spec("sleep 60", seconds=1)).reason is EndReason.TIME_LIMIT

    def test_memory_hog_is_out_of_memory(self, backend: Backend) -> None:
        spec = make_spec("python3 -c 'x = bytearray(400_000_000)'", memory=64 * MIB)
        assert run(backend, spec).reason is EndReason.OUT_OF_MEMORY

    def test_disk_filler_is_stopped(self, backend: Backend) -> None:
        command = "i=0; while true; do head -c 4M /dev/zero > f$i || exit 1; i=$((i+1)); done"
        assert run(backend, make_spec(command)).reason is EndReason.DISK_FULL

    def test_fork_bomb_is_contained(self, backend: Backend) -> None:
        bomb = "import os\nwhile True:\n  try: os.fork()\n  except OSError: os._exit(1)"
        spec = make_spec(f"python3 -c '{bomb}'; sleep 60", seconds=2)
        assert run(backend, spec).reason is EndReason.TIME_LIMIT

    def test_a_gigabyte_of_output_is_capped_with_one_notice(self, backend: Backend) -> None:
        spec = make_spec("head -c 1G /dev/zero; echo end > done")
        assert run(backend, spec).reason is EndReason.COMPLETED
        log = log_of(backend, spec.external_name)
        assert MIB <= len(log) < MIB + 300
        assert log.count(b"[FastGPU: this log reached its limit") == 1
        assert [file.path for file in backend.list_files(spec.external_name)] == ["done"]

    def test_environment_values_arrive_as_they_are(self, backend: Backend) -> None:
        spec = make_spec('printf "%s|%s|" "$A" "$B"', env={"A": "a=b\n c'\"$x", "B": "ü"})
        run(backend, spec)
        assert log_of(backend, spec.external_name).decode() == "a=b\n c'\"$x|ü|"

    def test_fastgpu_variables_cannot_be_replaced(self, backend: Backend) -> None:
        spec = make_spec("echo $FASTGPU_RUN_ID $FASTGPU_ATTEMPT", env={"FASTGPU_RUN_ID": "other"})
        run(backend, spec)
        assert log_of(backend, spec.external_name) == b"run-1 2\n"

    def test_a_command_of_100_kb_works(self, backend: Backend) -> None:
        spec = make_spec(f"x='{'y' * 200_000}'\necho ${{#x}}")
        run(backend, spec)
        assert log_of(backend, spec.external_name) == b"200000\n"

    def test_unknown_environment_is_refused(self, backend: Backend) -> None:
        with pytest.raises(LaunchRefused):
            backend.submit(make_spec("true", environment="no-such"))

    def test_nul_in_the_command_is_refused(self, backend: Backend) -> None:
        with pytest.raises(LaunchRefused):
            backend.submit(make_spec("echo \0"))

    def test_output_files_are_listed_and_readable(self, backend: Backend) -> None:
        spec = make_spec("mkdir -p d/e; printf abc > d/e/f; printf x > a")
        run(backend, spec)
        listed = backend.list_files(spec.external_name)
        assert [(file.path, file.size_bytes) for file in listed] == [("a", 1), ("d/e/f", 3)]
        with backend.open_file(spec.external_name, "d/e/f") as file:
            assert file.read() == b"abc"

    def test_no_path_leads_out_of_the_home(self, backend: Backend) -> None:
        spec = make_spec("ln -s /etc/passwd l; ln -s / r; mkfifo p; mkdir d; ln -s .. d/up; : > f")
        run(backend, spec)
        assert [file.path for file in backend.list_files(spec.external_name)] == ["f"]
        for path in (
            "l", "r/etc/passwd", "p", "d", "d/up/f", "../log", "/etc/passwd", "d/../f",
            "", ".", "f/", "f\0", "./f", "missing",
        ):  # fmt: skip
            with pytest.raises(FileNotFoundError):
                backend.open_file(spec.external_name, path)

    def test_inventory_names_its_gpus_uniquely(self, backend: Backend) -> None:
        uuids = [gpu.uuid for node in backend.inventory({}) for gpu in node.gpus]
        assert len(set(uuids)) == len(uuids)
        again = [gpu.uuid for node in backend.inventory({}) for gpu in node.gpus]
        assert again == uuids

    def test_healthy(self, backend: Backend) -> None:
        assert backend.health({}).may_start
