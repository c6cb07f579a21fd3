"""What the children say: on the terminal with their names before it, and in bounded files."""

from __future__ import annotations

import logging
import os
import sys
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TextIO

_COLOURS = (36, 33, 32, 35, 34, 96, 93, 92, 95, 94)
_FILE_BYTES = 5_000_000
# Children print what strangers typed: nothing of it may steer the terminal.
_CONTROLS = {code: "\ufffd" for code in (*range(32), 127) if chr(code) != "\t"}


class _File(RotatingFileHandler):
    """A log file of at most twice `_FILE_BYTES`, which gives up quietly on a full disk."""

    _complained = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        if not self._complained:
            self._complained = True
            sys.stderr.write(f"up: {self.baseFilename} cannot be written: {sys.exc_info()[1]}\n")


class Output:
    """Writes lines as `web     | text`, in colour on a terminal unless NO_COLOR is set."""

    def __init__(self, folder: Path, names: list[str], stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self._shown = True
        self._folder = folder
        self._width = max(len(name) for name in [*names, "up"])
        self._coloured = self._stream.isatty() and "NO_COLOR" not in os.environ
        self._colour = {name: _COLOURS[i % len(_COLOURS)] for i, name in enumerate(names)}
        self._files: dict[str, _File] = {}

    def line(self, name: str, text: str) -> None:
        """Show one line of `name` and keep it in its file."""
        text = text.translate(_CONTROLS)
        prefix = f"{name:<{self._width}} |"
        if self._coloured:
            prefix = f"\x1b[{self._colour.get(name, 1)}m{prefix}\x1b[0m"
        self._show(f"{prefix} {text}\n")
        self._file(name).emit(logging.makeLogRecord({"msg": text, "levelno": logging.INFO}))

    def plain(self, text: str) -> None:
        """Show one line without a prefix, and keep it in the stack's own file."""
        self._show(f"{text}\n")
        self._file("up").emit(logging.makeLogRecord({"msg": text, "levelno": logging.INFO}))

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.close()

    def _show(self, text: str) -> None:
        if not self._shown:
            return
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:
            # The terminal is gone; the files still have everything.
            self._shown = False

    def _file(self, name: str) -> _File:
        if name not in self._files:
            path = self._folder / f"{name}.log"
            file = _File(path, maxBytes=_FILE_BYTES, backupCount=1, encoding="utf-8", delay=True)
            file.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
            self._files[name] = file
        return self._files[name]
