"""Start everything, say when it is ready, keep it running, end it in order."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from clusters import recipes
from portal.stack import services
from portal.stack.children import Child, end_leftovers
from portal.stack.config import BASE_DIR, Config, Parts, assemble
from portal.stack.errors import StackError
from portal.stack.output import Output
from portal.stack.postgres import MAJOR
from portal.stack.preflight import require_ports, require_root_jail, require_space, require_tools
from portal.stack.processes import Supervisor
from portal.stack.stamps import are_built, is_migrated

_REMIND_SECONDS = 20.0


def main() -> int:
    """Run the stack until it is told to end; the exit status of the command."""
    os.chdir(BASE_DIR)
    try:
        config = Config.read()
        require_tools()
        if config.own_postgres and os.geteuid() == 0:
            require_root_jail()
        config.layout.create()
        require_space(config.layout.root)
        with config.layout.locked():
            config.layout.check_version(MAJOR)
            return _run(assemble(config))
    except StackError as error:
        sys.stderr.write(f"{error}\n")
    except OSError as error:
        # A disk that filled up just now, a folder taken away: still one sentence.
        sys.stderr.write(f"FastGPU cannot go on: {error}.\n")
    return 1


def _run(parts: Parts) -> int:
    children = _children(parts)
    output = Output(parts.config.layout.logs, [child.name for child in children])
    try:
        end_leftovers(parts.config.layout.run, children, lambda text: output.line("up", text))
        require_ports(parts.config)
        _prepare(parts)
        return asyncio.run(_Stack(parts, children, output).run())
    finally:
        output.close()


def _children(parts: Parts) -> list[Child]:
    layout = parts.config.layout
    migrate = not (parts.postgres and is_migrated(layout) and layout.demo_file.exists())
    servers = services.servers(parts, after_setup=migrate)
    steps = services.steps(parts, migrate=migrate, environments=not are_built(layout))
    stores = services.stores(parts)
    return [*stores, *steps, *servers] if migrate else [*stores, *servers, *steps]


def _prepare(parts: Parts) -> None:
    with ThreadPoolExecutor() as pool:
        work: list[Future[None]] = []
        if parts.postgres:
            work.append(pool.submit(parts.postgres.prepare))
        if parts.valkey:
            work.append(pool.submit(parts.valkey.prepare))
        for done in work:
            done.result()


class _Stack:
    """One run of the supervisor, with its signals and its word to the terminal."""

    def __init__(self, parts: Parts, children: list[Child], output: Output) -> None:
        self._parts = parts
        self._children = children
        self._output = output
        self._interrupted = asyncio.Event()
        self._supervisor: Supervisor | None = None

    async def run(self) -> int:
        run_dir = self._parts.config.layout.run
        environment = self._parts.environment
        supervisor = Supervisor(
            self._children, run_dir=run_dir, output=self._output, environment=environment
        )
        self._supervisor = supervisor
        with self._signals():
            supervisor.start()
            try:
                await self._until_interrupted(supervisor)
            finally:
                await supervisor.stop()
                self._output.line("up", "stopped")
        return 0

    async def _until_interrupted(self, supervisor: Supervisor) -> None:
        work = [
            asyncio.create_task(self._interrupted.wait()),
            asyncio.create_task(self._announce(supervisor)),
            asyncio.create_task(supervisor.wait()),
        ]
        try:
            while not self._interrupted.is_set():
                done, _ = await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
                    work.remove(task)
        finally:
            for task in work:
                task.cancel()

    async def _announce(self, supervisor: Supervisor) -> None:
        config = self._parts.config
        needed = [child.name for child in self._children if not self._is_afterthought(child)]
        await self._reminded(supervisor.wait_ready(needed), supervisor.waiting_for)
        unready: list[str] = []
        await self._reminded(self._until_readyz(config, unready), lambda: unready)
        self._output.plain(f"FastGPU is ready at http://localhost:{config.port}")
        missing = recipes.missing(config.layout.environments)
        if missing:
            python = Path(sys.executable)
            shown = python.relative_to(BASE_DIR) if python.is_relative_to(BASE_DIR) else python
            self._output.plain(
                f"More to run work in: {shown} manage.py build_environments {' '.join(missing)}"
            )

    def _is_afterthought(self, child: Child) -> bool:
        # Where the demo is there already, seeding only looks after changes of the code.
        return child.once and services.WEB in child.after

    async def _until_readyz(self, config: Config, unready: list[str]) -> None:
        while True:
            state = await asyncio.to_thread(_readyz, config)
            if state is None:
                return
            unready[:] = state
            await asyncio.sleep(0.1)

    async def _reminded(
        self, work: Coroutine[object, object, None], missing: Callable[[], list[str]]
    ) -> None:
        task = asyncio.ensure_future(work)
        try:
            while not (await asyncio.wait({task}, timeout=_REMIND_SECONDS))[0]:
                self._output.line("up", f"still waiting for {', '.join(missing()) or 'the portal'}")
            task.result()
        finally:
            task.cancel()

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        for number in numbers:
            loop.add_signal_handler(number, self._interrupt)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)

    def _interrupt(self) -> None:
        if not self._interrupted.is_set():
            self._output.line("up", "stopping; once more to end everything at once")
            self._interrupted.set()
        elif self._supervisor:
            self._output.line("up", "ending everything at once")
            self._supervisor.kill()


def _readyz(config: Config) -> list[str] | None:
    """Parts that are not ready by the portal's own word; None when all are."""
    request = urllib.request.Request(  # noqa: S310
        f"{config.portal_url}/readyz", headers={"Host": f"localhost:{config.port}"}
    )
    try:
        with urllib.request.urlopen(request, timeout=5):  # noqa: S310
            return None
    except urllib.error.HTTPError as error:
        with error:
            return _unready_parts(error.read(65_536))
    except OSError:
        return ["the web server"]


def _unready_parts(body: bytes) -> list[str]:
    try:
        parts = json.loads(body)["parts"]
        return [f"{name} ({part['detail']})" for name, part in parts.items() if not part["ok"]]
    except (ValueError, KeyError, TypeError, AttributeError):
        return ["the web server"]
