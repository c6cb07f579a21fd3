"""What an earlier stack left running is found and ended; nothing else is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import psutil

from portal.stack.children import Child, end_leftovers, leave_mark, marked_process
from portal.stack.jail import die_with_parent


def test_a_leftover_is_ended(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "300"]) as process:
        leave_mark(tmp_path, "web", process.pid)
        said: list[str] = []
        end_leftovers(tmp_path, [Child("web", ())], said.append)
        assert not psutil.pid_exists(process.pid)
    assert said == [f"ending web left over from an earlier run (process {process.pid})"]
    assert not (tmp_path / "web.pid").exists()


def test_a_leftover_deaf_to_its_signal_is_killed(tmp_path: Path) -> None:
    script = "trap '' TERM; echo up; while :; do sleep 1; done"
    with subprocess.Popen(["/bin/sh", "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        leave_mark(tmp_path, "web", process.pid)
        end_leftovers(tmp_path, [Child("web", (), grace=0.1)], lambda _text: None)
        assert not psutil.pid_exists(process.pid)


def test_a_pid_that_belongs_to_another_process_now_is_left_alone(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "300"]) as process:
        created = psutil.Process(process.pid).create_time() - 100
        mark = {"pid": process.pid, "created": created}
        (tmp_path / "web.pid").write_text(json.dumps(mark), encoding="utf-8")
        end_leftovers(tmp_path, [Child("web", ())], lambda _text: None)
        assert process.poll() is None
        process.kill()


def test_a_broken_mark_is_nothing(tmp_path: Path) -> None:
    (tmp_path / "web.pid").write_text("{", encoding="utf-8")
    assert marked_process(tmp_path, "web") is None


def test_a_server_whose_starter_is_gone_is_ended_by_its_own_pid(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "300"]) as process:
        child = Child("postgres", (), main_pid=lambda: process.pid)
        end_leftovers(tmp_path, [child], lambda _text: None)
        assert not psutil.pid_exists(process.pid)


def test_a_child_goes_when_its_parent_is_killed() -> None:
    command = die_with_parent(["sleep", "300"])
    script = f"import subprocess,time; p = subprocess.Popen({command!r}); print(p.pid, flush=True)"
    program = f"{script}; p.wait()"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        # setpriv becomes the program once it has asked to be told.
        while child.name() != "sleep":
            assert child.is_running()
        parent.kill()
        assert psutil.wait_procs([child], timeout=30)[1] == []
