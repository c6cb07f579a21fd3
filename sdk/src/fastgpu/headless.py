"""One run of one notebook: nbclient drives the kernel, we keep what it shows and tell the log."""

from __future__ import annotations

import asyncio
import atexit
import os
import re
import signal
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from traitlets.config import Config

from fastgpu.run_notebook import FAILED, STOPPED

START_SECONDS = 300
SAVE_SECONDS = 2.0
# Of a notebook that takes long to write, so large a part of the time is spent on it at most.
SAVE_SHARE = 0.05
DEFAULT_KERNEL = "python3"
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


class Unusable(Exception):
    """There is nothing here that could be run; the message says why."""


class _Stop(Exception):
    """Raised between two cells after SIGTERM."""


def read(path: Path) -> Any:
    """The notebook at `path`, in the present format. Raises OSError, Unusable."""
    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        return nbformat.reads(text, as_version=4)
    except Exception as error:  # nbformat raises whatever its readers meet
        raise Unusable(_first_line(error)) from error


class Run(NotebookClient):
    """Runs `notebook` and keeps it at `output`."""

    nb: Any

    def __init__(self, notebook: Any, output: Path, *, kernel: str = "") -> None:
        """Raises Unusable where the notebook's kernel is not installed."""
        super().__init__(
            notebook,
            kernel_name=_kernel_of(notebook, kernel),
            # Not through ports: a pool with a network shares those of its machine.
            config=Config({"KernelManager": {"transport": "ipc"}}),
            timeout=None,
            startup_timeout=START_SECONDS,
            on_cell_start=self._begin,
        )
        self._output = output
        self._saved_at = 0.0
        self._save_cost = 0.0
        self._is_changed = False
        self._is_stopping = False
        self._number = 0
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
        self._cells = sum(_is_run(cell) for cell in notebook.cells)

    def take(self, parameters: dict[str, Any]) -> None:
        """Set parameters. Raises Unusable where the environment has no papermill."""
        if not parameters:
            return
        try:
            from papermill.parameterize import parameterize_notebook
        except ImportError as error:
            raise Unusable(f"Parameters need {error.name}, which is not here.") from error
        self.nb.metadata.setdefault("papermill", nbformat.NotebookNode())
        for cell in self.nb.cells:
            cell.metadata.setdefault("tags", [])
        language = self.nb.metadata.get("language_info", {}).get("name", "python")
        self.nb = parameterize_notebook(
            self.nb, parameters, kernel_name=self.kernel_name, language=language
        )
        self._cells = sum(_is_run(cell) for cell in self.nb.cells)

    def run(self, folder: Path) -> int:
        """Run all cells in `folder`; the exit code. Raises OSError where nothing can be kept."""
        self._output.parent.mkdir(parents=True, exist_ok=True)
        self._note("running")
        self._save()
        try:
            return asyncio.run(self._run(folder))
        finally:
            sys.stdout.write(f"What it showed is kept in {self._output}\n")
            sys.stdout.flush()

    async def _run(self, folder: Path) -> int:
        saving = asyncio.create_task(self._keep_saving())
        ended, code = "failed", FAILED
        try:
            await self.async_execute(cwd=str(folder))
            ended, code = "succeeded", 0
        except CellExecutionError as error:
            sys.stderr.write(f"\nCell {self._number} of {self._cells} failed.\n{_plain(error)}\n")
        except (DeadKernelError, _Stop):
            if not self._is_stopping:
                sys.stderr.write(f"\nThe kernel died in cell {self._number} of {self._cells}.\n")
        except RuntimeError as error:
            if not self._is_stopping:
                sys.stderr.write(f"\nThe kernel did not start: {error}\n")
        finally:
            saving.cancel()
            atexit.unregister(self._cleanup_kernel)
            if self._is_stopping:
                ended, code = "stopped", STOPPED
                sys.stderr.write(f"\nStopped in cell {self._number} of {self._cells}.\n")
            self._note(ended)
            self._save()
        return code

    def process_message(self, msg: Any, cell: Any, cell_index: int) -> Any:
        """See nbclient: keeps one message of the kernel. Says it to the log besides."""
        shown = super().process_message(msg, cell, cell_index)
        self._is_changed = True
        if shown is not None:
            _say(shown)
        return shown

    async def async_start_new_kernel(self, **kwargs: Any) -> None:
        """See nbclient, which has just taken the signals to shut the kernel down at once."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        await super().async_start_new_kernel(**kwargs)

    def _stop(self) -> None:
        """Keep what there is, and let the kernel save its own."""
        self._is_stopping = True
        self._save()
        self._telling = asyncio.ensure_future(self._tell_kernel())

    async def _tell_kernel(self) -> None:
        if self.km is not None and await self.km.is_alive():
            await self.km.signal_kernel(signal.SIGTERM)

    def _begin(self, cell: Any, **_: Any) -> None:
        if self._is_stopping:
            raise _Stop
        if _is_run(cell):
            self._number += 1
            sys.stdout.write(f"[cell {self._number} of {self._cells}]\n")
            sys.stdout.flush()
        self._is_changed = True

    async def _keep_saving(self) -> None:
        while True:
            await asyncio.sleep(max(SAVE_SECONDS, self._save_cost / SAVE_SHARE))
            if self._is_changed:
                self._save()

    def _save(self) -> None:
        """Put the notebook in its place, so that it is whole whenever we are killed."""
        began = time.monotonic()
        self._is_changed = False
        fresh = self._output.with_name(f".{self._output.name}.part")
        with fresh.open("w", encoding="utf-8") as stream:
            nbformat.write(self.nb, stream)
        fresh.replace(self._output)
        self._save_cost = time.monotonic() - began

    def _note(self, state: str) -> None:
        self.nb.metadata["fastgpu"] = {"state": state, "run": os.environ.get("FASTGPU_RUN_ID", "")}


def _kernel_of(notebook: Any, asked: str) -> str:
    """The kernel to run it with: another Python's name is no obstacle for a Python notebook."""
    spec = notebook.metadata.get("kernelspec", {})
    name = asked or spec.get("name") or DEFAULT_KERNEL
    installed = KernelSpecManager().find_kernel_specs()
    if name in installed:
        return str(name)
    language = spec.get("language") or notebook.metadata.get("language_info", {}).get("name")
    if not asked and language in (None, "python") and DEFAULT_KERNEL in installed:
        return DEFAULT_KERNEL
    raise Unusable(f"There is no kernel {name} here; there are: {', '.join(sorted(installed))}.")


def _is_run(cell: Any) -> bool:
    return cell.cell_type == "code" and bool(cell.source.strip())


def _say(shown: Any) -> None:
    """Write what a cell shows to the log, as far as it is text. Errors are told at the end."""
    if shown.output_type == "stream":
        stream = sys.stderr if shown.name == "stderr" else sys.stdout
        stream.write(shown.text)
        stream.flush()
    elif shown.output_type != "error":
        text = shown.get("data", {}).get("text/plain")
        if text:
            sys.stdout.write(f"{text}\n")
            sys.stdout.flush()


def _plain(error: Exception) -> str:
    return _ANSI.sub("", str(error)).strip()


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)[:300]
