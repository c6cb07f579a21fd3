"""Listens to one kernel and writes on in the place of pages that have gone away."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

from fastgpu.lab.documents import Documents
from fastgpu.lab.outputs import OUTPUT_TYPES, CellOutputs

# Between two writes into the document. Pages that watch see them at once.
WRITE_SECONDS = 0.5
# After a page is gone, what it had sent may still be on its way into the document.
SETTLE_SECONDS = 2.0
# A finished run is kept for as long as a dead page may look alive: its connection is only known to
# be cut once the server's pings have gone unanswered.
KEPT_SECONDS = 120.0


@dataclass
class Run:
    """One execution of a cell, asked for by one page."""

    message_id: str
    cell_id: str
    page: str
    outputs: CellOutputs = field(default_factory=CellOutputs)
    count: int | None = None
    ended_at: float | None = None
    is_orphaned: bool = False
    is_written: bool = True


class Recorder:
    """What one kernel was asked to run, and what it said of each run."""

    def __init__(self, kernel_id: str, kernel: Any, documents: Documents, log: Any) -> None:
        self._kernel_id = kernel_id
        self._kernel = kernel
        self._documents = documents
        self._log = log
        self._runs: dict[str, Run] = {}
        self._places: dict[str, list[tuple[str, int]]] = {}
        self._writer: asyncio.Task[None] | None = None
        self._session = type(kernel.session)(key=kernel.session.key, config=kernel.session.config)
        self.heard = asyncio.Event()
        self._stream = kernel.connect_iopub()
        self._stream.on_recv(self._receive)
        kernel.add_restart_callback(self._died, "restart")
        kernel.add_restart_callback(self._died, "dead")

    def close(self) -> None:
        """Stop listening, and write no more."""
        if self._writer is not None:
            self._writer.cancel()
        self._runs.clear()
        if not self._stream.closed():
            self._stream.close()

    def begin(self, message_id: str, cell_id: str, page: str) -> None:
        """A page is about to ask the kernel to run a cell."""
        self._forget_old()
        for run in [run for run in self._runs.values() if run.cell_id == cell_id]:
            del self._runs[run.message_id]
        self._runs[message_id] = Run(message_id, cell_id, page)

    def page_gone(self, page: str) -> None:
        """The connection of a page was lost: its runs are ours from here on."""
        self._forget_old()
        for run in self._runs.values():
            if run.page == page:
                run.is_orphaned = True
                self._changed(run)
        self._settle(page)

    def take(self, message_id: str) -> bool:
        """Write the outputs of this request from here on, if it is the run of a cell."""
        run = self._runs.get(message_id)
        if run is None:
            return False
        run.is_orphaned = True
        self._changed(run)
        self._settle(run.page)
        return True

    def page_back(self, page: str) -> None:
        """The page connected again; it may bring what it could not send before."""
        self._settle(page)

    def is_orphaned(self, message_id: str) -> bool:
        """Whether the outputs of this request are written by the recorder."""
        run = self._runs.get(message_id)
        return run is not None and run.is_orphaned

    @property
    def has_orphans(self) -> bool:
        """Whether any run has lost its page."""
        return any(run.is_orphaned for run in self._runs.values())

    @property
    def is_running(self) -> bool:
        """Whether any cell runs or waits its turn."""
        return any(run.ended_at is None for run in self._runs.values())

    async def write(self) -> None:
        """Bring the document up to date now."""
        for run in list(self._runs.values()):
            if run.is_orphaned and not run.is_written:
                run.is_written = True
                await self._write(run)

    def _receive(self, parts: list[bytes]) -> None:
        self.heard.set()
        _, parts = self._session.feed_identities(parts)
        header = self._session.unpack(parts[1])
        parent = self._session.unpack(parts[2])
        kind = header["msg_type"]
        run = self._runs.get(parent.get("msg_id", ""))
        if run is None:
            if (
                kind == "status"
                and not parent
                and self._content(parts)["execution_state"] == "starting"
            ):
                # A kernel that starts anew knows nothing of what the one before it was asked.
                self._end_all()
            return
        if kind in OUTPUT_TYPES:
            run.outputs.add(kind, self._content(parts))
            self._changed(run)
        elif kind == "execute_input":
            run.count = self._content(parts)["execution_count"]
        elif kind == "status" and self._content(parts)["execution_state"] == "idle":
            self._end(run)

    def _content(self, parts: list[bytes]) -> dict[str, Any]:
        content: dict[str, Any] = self._session.unpack(parts[4])
        return content

    def _end(self, run: Run) -> None:
        run.ended_at = time.monotonic()
        for display, places in run.outputs.displays().items():
            known = self._places.setdefault(display, [])
            known.extend((run.cell_id, place) for place in places)
        self._changed(run)

    def _end_all(self) -> None:
        for run in self._runs.values():
            if run.ended_at is None:
                self._end(run)

    def _died(self) -> None:
        """The kernel ended by itself, say because it took more memory than it may."""
        for run in self._runs.values():
            if run.ended_at is None and run.count is not None:
                run.outputs.fail("KernelDied", "The kernel died while this cell ran.")
        self._end_all()

    def _changed(self, run: Run) -> None:
        if not run.is_orphaned:
            return
        run.is_written = False
        if self._writer is None or self._writer.done():
            self._writer = asyncio.get_running_loop().create_task(self._write_on())

    def _settle(self, page: str) -> None:
        def again() -> None:
            for run in self._runs.values():
                if run.page == page:
                    self._changed(run)

        asyncio.get_running_loop().call_later(SETTLE_SECONDS, again)

    async def _write_on(self) -> None:
        while any(run.is_orphaned and not run.is_written for run in self._runs.values()):
            began_at = time.monotonic()
            try:
                await self.write()
            except Exception:
                # A notebook that cannot be opened just now must not end the recording of others.
                self._log.exception("Outputs of kernel %s could not be written", self._kernel_id)
            took = time.monotonic() - began_at
            await asyncio.sleep(max(WRITE_SECONDS, 10 * took))

    async def _write(self, run: Run) -> None:
        cell = await self._documents.find(self._kernel_id, run.cell_id)
        if cell is None:
            self._log.warning("No open notebook has the cell %s", run.cell_id)
            return
        cell.show(run.outputs.as_list(), count=run.count, is_running=run.ended_at is None)
        for display, shown in run.outputs.replaced.items():
            for cell_id, place in self._places.get(display, []):
                other = await self._documents.find(self._kernel_id, cell_id)
                if other is not None and cell_id != run.cell_id:
                    other.replace_display(place, shown)

    def _forget_old(self) -> None:
        now = time.monotonic()
        for run in list(self._runs.values()):
            if run.ended_at is not None and now - run.ended_at > KEPT_SECONDS:
                del self._runs[run.message_id]
