"""The supervisor, with small children of its own."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from portal.stack.children import Child, marked_process
from portal.stack.errors import StackError
from portal.stack.output import Output
from portal.stack.processes import Backoff, Supervisor

_FAST = Backoff(first=0.02, limit=0.08, settled=60)
# Says when it is up, then when it was told to stop.
_POLITE = """
import signal, sys, pathlib, time
name, log = sys.argv[1], pathlib.Path(sys.argv[2])
def note(what):
    with log.open("a") as file: file.write(f"{name} {what}\\n")
def end(*_):
    note("ends"); sys.exit(0)
signal.signal(signal.SIGTERM, end)
note("runs")
signal.pause()
"""


class _Stage:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "log"
        self.log.touch()
        self.stream = io.StringIO()

    def polite(self, name: str, *after: str) -> Child:
        command = (sys.executable, "-c", _POLITE, name, str(self.log))
        return Child(name, command, after=after, ready=lambda: f"{name} runs" in self.notes())

    def shell(self, name: str, script: str, **options: object) -> Child:
        return Child(name, ("/bin/sh", "-c", script), **options)  # type: ignore[arg-type]

    def notes(self) -> list[str]:
        return self.log.read_text(encoding="utf-8").splitlines()

    @asynccontextmanager
    async def running(self, *children: Child, stop: bool = True) -> AsyncIterator[Supervisor]:
        output = Output(self.folder, [child.name for child in children], self.stream)
        supervisor = Supervisor(
            children,
            run_dir=self.folder,
            output=output,
            environment=os.environ,
            backoff=_FAST,
        )
        supervisor.start()
        try:
            yield supervisor
        finally:
            await supervisor.stop()
            output.close()


@pytest.fixture
def stage(tmp_path: Path) -> _Stage:
    return _Stage(tmp_path)


async def _until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_starts_a_child_when_what_it_needs_is_ready(stage: _Stage) -> None:
    async with stage.running(stage.polite("base"), stage.polite("top", "base")) as supervisor:
        await supervisor.wait_ready()
    assert stage.notes()[:2] == ["base runs", "top runs"]


async def test_ends_children_before_what_they_stand_on(stage: _Stage) -> None:
    base, middle, top = (
        stage.polite("base"),
        stage.polite("middle", "base"),
        stage.polite("top", "middle"),
    )
    async with stage.running(base, middle, top) as supervisor:
        await supervisor.wait_ready()
    assert stage.notes()[3:] == ["top ends", "middle ends", "base ends"]


async def test_starts_a_child_again_when_it_dies(stage: _Stage) -> None:
    async with stage.running(stage.polite("web")) as supervisor:
        await supervisor.wait_ready()
        pid = supervisor.pid("web")
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await _until(lambda: stage.notes().count("web runs") == 2)
        assert supervisor.pid("web") != pid


async def test_waits_longer_before_each_start_up_to_a_limit(stage: _Stage) -> None:
    async with stage.running(stage.shell("bad", "exit 3")):
        await _until(lambda: stage.stream.getvalue().count("again in 0.08 s") >= 2)
    said = [line for line in stage.stream.getvalue().splitlines() if "again in" in line]
    waits = [line.rsplit(" in ", 1)[1] for line in said[:4]]
    assert waits == ["0.02 s", "0.04 s", "0.08 s", "0.08 s"]
    assert "bad ended (exit status 3)" in said[0]


async def test_begins_with_the_short_wait_for_what_had_run_a_while(tmp_path: Path) -> None:
    stream = io.StringIO()
    settled = Backoff(first=0.02, limit=10, settled=0.0)
    output = Output(tmp_path, ["bad"], stream)
    supervisor = Supervisor(
        [Child("bad", ("/bin/false",))],
        run_dir=tmp_path,
        output=output,
        environment=os.environ,
        backoff=settled,
    )
    supervisor.start()
    await _until(lambda: stream.getvalue().count("again in") >= 3)
    await supervisor.stop()
    output.close()
    assert stream.getvalue().count("again in 0.02 s") == stream.getvalue().count("again in")


async def test_lines_carry_the_name_of_who_said_them(stage: _Stage) -> None:
    child = stage.shell("web", "echo out; echo err >&2; sleep 60")
    async with stage.running(child, stage.polite("worker")):
        await _until(lambda: "err" in stage.stream.getvalue())
    assert "web    | out\n" in stage.stream.getvalue()
    assert "web    | err\n" in stage.stream.getvalue()


async def test_the_last_words_of_a_child_are_kept(stage: _Stage) -> None:
    child = stage.shell("step", "i=0; while [ $i -lt 500 ]; do echo line $i; i=$((i+1)); done")
    step = Child(child.name, child.command, once=True)
    async with stage.running(step) as supervisor:
        await supervisor.wait()
    assert "line 499" in (stage.folder / "step.log").read_text(encoding="utf-8")


async def test_a_step_that_fails_is_an_error_of_the_whole(stage: _Stage) -> None:
    step = stage.shell("setup", "exit 7", once=True)
    async with stage.running(step, stage.polite("web", "setup")) as supervisor:
        with pytest.raises(StackError, match=r"setup failed \(exit status 7\)"):
            await supervisor.wait_ready()
    assert stage.notes() == []


async def test_a_step_is_waited_for(stage: _Stage) -> None:
    step = stage.shell("setup", f"echo setup done >> {stage.log}", once=True)
    async with stage.running(step, stage.polite("web", "setup")) as supervisor:
        await supervisor.wait_ready()
    assert stage.notes()[:2] == ["setup done", "web runs"]


async def test_a_child_deaf_to_its_signal_is_killed(stage: _Stage) -> None:
    child = stage.shell("deaf", "trap '' TERM; echo up; while :; do sleep 1; done", grace=0.2)
    async with stage.running(child) as supervisor:
        await _until(lambda: "up" in stage.stream.getvalue())
        pid = supervisor.pid("deaf")
    assert pid is not None
    assert not psutil.pid_exists(pid)


async def test_nothing_a_child_started_outlives_the_stop(stage: _Stage) -> None:
    child = stage.shell("web", "sleep 300 & echo $!; wait")
    async with stage.running(child):
        await _until(lambda: "| " in stage.stream.getvalue())
    grandchild = int(stage.stream.getvalue().split("| ")[1].split()[0])
    await _until(lambda: not psutil.pid_exists(grandchild))


async def test_kill_ends_children_that_are_still_closing(stage: _Stage) -> None:
    child = stage.shell("deaf", "trap '' TERM; echo up; while :; do sleep 1; done", grace=60)
    async with stage.running(child) as supervisor:
        await _until(lambda: "up" in stage.stream.getvalue())
        stop = asyncio.create_task(supervisor.stop())
        await asyncio.sleep(0)
        supervisor.kill()
        async with asyncio.timeout(10):
            await stop


async def test_a_stop_while_children_wait_for_others_ends_at_once(stage: _Stage) -> None:
    never = Child("base", ("sleep", "300"), ready=lambda: False)
    async with stage.running(never, stage.polite("top", "base")):
        await _until(lambda: marked_process(stage.folder, "base"))
    assert stage.notes() == []


async def test_a_program_that_is_not_there_is_said(stage: _Stage) -> None:
    async with stage.running(Child("web", ("/nowhere/program",))):
        await _until(lambda: "cannot be started" in stage.stream.getvalue())


async def test_marks_say_what_runs_and_go_with_it(stage: _Stage) -> None:
    async with stage.running(stage.polite("web")) as supervisor:
        await supervisor.wait_ready()
        process = marked_process(stage.folder, "web")
        assert process is not None
        assert process.pid == supervisor.pid("web")
    assert not (stage.folder / "web.pid").exists()
