"""Keeps a set of processes running and ends them in order."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from portal.stack.children import Child, leave_mark, remove_mark, signal_group
from portal.stack.errors import StackError
from portal.stack.output import Output

_LINE_BYTES = 8_192
_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Backoff:
    """Seconds to wait before a new start: doubled from `first` to `limit`, `first` again for
    what had run for `settled` seconds."""

    first: float = 0.2
    limit: float = 10.0
    settled: float = 20.0


class Supervisor:
    """Runs `children`, each when what it stands on is ready, again when it dies.

    Use: `start()`, then `wait_ready()`, `wait()`, and always `stop()` at the end, all on one event
    loop in the main thread (a child is told when the thread that started it ends).
    """

    def __init__(
        self,
        children: Sequence[Child],
        *,
        run_dir: Path,
        output: Output,
        environment: Mapping[str, str],
        backoff: Backoff | None = None,
    ) -> None:
        self._children = {child.name: child for child in children}
        self._run_dir = run_dir
        self._output = output
        self._environment = dict(environment)
        self._backoff = backoff or Backoff()
        self._ready = {name: asyncio.Event() for name in self._children}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._stopping = asyncio.Event()

    def start(self) -> None:
        """Begin; processes start as what they need becomes ready."""
        for name, child in self._children.items():
            self._tasks[name] = asyncio.create_task(self._supervise(child), name=name)

    def waiting_for(self) -> list[str]:
        """Names of the children that are not ready yet."""
        return [name for name, event in self._ready.items() if not event.is_set()]

    def pid(self, name: str) -> int | None:
        """Process id of `name` while it runs."""
        process = self._processes.get(name)
        return process.pid if process else None

    async def wait_ready(self, names: Sequence[str] | None = None) -> None:
        """Return when the children named (None: all) are ready; raises what `wait` raises."""
        everything = asyncio.create_task(self._all_ready(names or list(self._children)))
        failure = asyncio.create_task(self.wait())
        try:
            await asyncio.wait({everything, failure}, return_when=asyncio.FIRST_COMPLETED)
            if not everything.done():
                failure.result()
        finally:
            everything.cancel()
            failure.cancel()

    async def wait(self) -> None:
        """Return when every child ended for good; raises StackError when a `once` child failed."""
        done, _ = await asyncio.wait(self._tasks.values(), return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            if not task.cancelled():
                task.result()

    async def stop(self) -> None:
        """End all children, each after those that stand on it; raises nothing of theirs."""
        self._stopping.set()
        stops: dict[str, asyncio.Task[None]] = {}
        # Children are listed after what they stand on, so this meets dependents first.
        for name in reversed(self._children):
            dependents = [
                stops[other.name]
                for other in self._children.values()
                if name in other.after and other.name in stops
            ]
            stops[name] = asyncio.create_task(self._stop_one(self._children[name], dependents))
        await asyncio.gather(*stops.values())
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def kill(self) -> None:
        """End all children now."""
        self._stopping.set()
        for name in reversed(list(self._processes)):
            self._signal(self._children[name], self._children[name].kill_signal)

    async def _all_ready(self, names: Sequence[str]) -> None:
        for name in names:
            await self._ready[name].wait()

    async def _stop_one(self, child: Child, dependents: list[asyncio.Task[None]]) -> None:
        await asyncio.gather(*dependents)
        task = self._tasks.get(child.name)
        if task is None:
            return
        if child.name not in self._processes:
            task.cancel()
            return
        for number, seconds in ((child.stop_signal, child.grace), (child.kill_signal, 5.0)):
            self._signal(child, number)
            done, _ = await asyncio.wait({task}, timeout=seconds)
            if done:
                return
            self._output.line("up", f"{child.name} did not end within {seconds:g} s")
        signal_group(self._processes[child.name].pid, signal.SIGKILL)
        await asyncio.wait({task})

    def _signal(self, child: Child, number: signal.Signals) -> None:
        process = self._processes.get(child.name)
        main = child.main_pid() if child.main_pid else None
        if main is not None:
            os.kill(main, number)
        elif process is not None and process.poll() is None:
            process.send_signal(number)

    async def _supervise(self, child: Child) -> None:
        for name in child.after:
            await self._ready[name].wait()
        delay = self._backoff.first
        while not self._stopping.is_set():
            started = time.monotonic()
            status = await self._run(child)
            if self._stopping.is_set():
                return
            if child.once:
                if status != 0:
                    log = f"its log is above and in {child.name}.log"
                    raise StackError(f"The step {child.name} failed ({_why(status)}): {log}.")
                self._ready[child.name].set()
                return
            if time.monotonic() - started >= self._backoff.settled:
                delay = self._backoff.first
            message = f"{child.name} ended ({_why(status)}), starting it again in {delay:g} s"
            self._output.line("up", message)
            await asyncio.sleep(delay)
            delay = min(delay * 2, self._backoff.limit)

    async def _run(self, child: Child) -> int:
        try:
            process = self._spawn(child)
        except OSError as error:
            self._output.line(child.name, f"cannot be started: {error}")
            return 127
        self._processes[child.name] = process
        leave_mark(self._run_dir, child.name, process.pid)
        watch = asyncio.create_task(self._watch_ready(child))
        pump = asyncio.create_task(self._pump(child.name, process))
        try:
            await _ended(process.pid)
            # What it started may keep the pipe open; only what is already in it is waited for.
            await asyncio.wait({pump}, timeout=0.3)
        finally:
            watch.cancel()
            pump.cancel()
        await self._sweep(child, process)
        self._processes.pop(child.name, None)
        remove_mark(self._run_dir, child.name)
        return process.wait()

    def _spawn(self, child: Child) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            child.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self._environment | dict(child.environment),
            # Ctrl-C in the terminal is for us alone: we stop the children in order.
            start_new_session=True,
        )

    async def _sweep(self, child: Child, process: subprocess.Popen[bytes]) -> None:
        """Let nothing of a child that ended run on beside its successor."""
        if child.main_pid is None:
            signal_group(process.pid, signal.SIGKILL)
            return
        deadline = time.monotonic() + child.grace
        while (main := child.main_pid()) is not None:
            if time.monotonic() > deadline:
                os.kill(main, child.kill_signal)
                deadline += child.grace
            await asyncio.sleep(_POLL_SECONDS)

    async def _watch_ready(self, child: Child) -> None:
        if child.once or self._ready[child.name].is_set():
            return
        while True:
            if child.ready is None or await asyncio.to_thread(child.ready):
                self._ready[child.name].set()
                return
            await asyncio.sleep(_POLL_SECONDS)

    async def _pump(self, name: str, process: subprocess.Popen[bytes]) -> None:
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: protocol, process.stdout
        )
        rest = b""
        try:
            while chunk := await reader.read(65_536):
                *lines, rest = (rest + chunk).split(b"\n")
                if len(rest) > _LINE_BYTES:
                    lines, rest = [*lines, rest], b""
                for line in lines:
                    self._say(name, line)
        finally:
            transport.close()
            if rest:
                self._say(name, rest)

    def _say(self, name: str, line: bytes) -> None:
        text = line[:_LINE_BYTES].decode("utf-8", "replace").rstrip()
        if text:
            self._output.line(name, text)


async def _ended(pid: int) -> None:
    """Return when the child process `pid` has ended; its status is still to be read."""
    descriptor = os.pidfd_open(pid)
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(descriptor, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def _why(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"
