"""A Slurm that says what a test wants: a folder of tools for SlurmSettings.bin."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from clusters.backends.slurm.listing import COLUMNS, END

DEFAULTS = {
    "JobID": "100", "ArrayJobID": "100", "ArrayTaskID": "N/A", "UserName": "fg-team7",
    "State": "RUNNING", "exit_code": "0", "RestartCnt": "0", "SubmitTime": "1790000000",
    "StartTime": "1790000001", "EndTime": "1790003600", "NodeList": "gpu1", "Reason": "None",
    "Name": "fg-a-1",
}  # fmt: skip


def queue_line(**cells: str) -> bytes:
    """One line of squeue as the backend asks for it; what is not given is a running job's."""
    found = DEFAULTS | {"ArrayJobID": cells.get("JobID", "100")} | cells
    line = b"".join(found[name].encode()[:width].ljust(width) for name, width in COLUMNS)
    return line + END.encode() + b"\n"


class FakeTools:
    """squeue, sacct, scancel and scontrol that print files and count their calls.

    Tools that are not made here are the machine's own.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "bin"
        self.folder.mkdir()
        self._log = folder / "calls"
        self._log.touch()
        for name in ("squeue", "sacct", "scancel", "scontrol"):
            self.says(name, b"")

    def says(self, name: str, out: bytes, *, status: int = 0, error: str = "") -> None:
        """From now on the tool prints `out` and `error` and ends with `status`."""
        (self.folder / f"{name}.out").write_bytes(out)
        (self.folder / f"{name}.err").write_text(error)
        self._script(
            name,
            f"cat {self.folder}/{name}.out; cat {self.folder}/{name}.err >&2; exit {status}",
        )

    def runs(self, name: str, body: str) -> None:
        """The tool is this shell script, counted."""
        self._script(name, body)

    def passes_on(self, name: str, program: str) -> None:
        """The real tool, counted."""
        self._script(name, f'exec {program} "$@"')

    def calls(self, name: str = "") -> Sequence[str]:
        """Every call so far, as `name argument...`."""
        lines = self._log.read_text().splitlines()
        return [line for line in lines if line.startswith(f"{name} " if name else "")]

    def _script(self, name: str, body: str) -> None:
        path = self.folder / name
        new = self.folder / f".{name}"
        new.write_text(f'#!/bin/sh\necho "{name} $*" >> {self._log}\n{body}\n')
        new.chmod(0o755)
        new.replace(path)
