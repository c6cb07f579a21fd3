"""Runs Slurm's command line tools and tells "no" from "no answer"."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

from clusters.backends.base import BackendUnavailable, EndReason, LaunchRefused
from clusters.backends.slurm.settings import SlurmSettings

TOOL_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin:/opt/slurm/bin"
TIMEOUT_SECONDS = 20.0
"""Longer than Slurm's own MessageTimeout (10 s unless the site says otherwise)."""
PATIENCE_SECONDS = 1.0
"""A tool that takes longer may be trying to reach a slurmctld that is not there."""

NO_ANSWER = re.compile(
    r"unable to contact|connection (refused|reset)|broken pipe|timed out|"
    r"zero bytes were transmitted|connection failure|temporarily un|in standby mode|munge|"
    r"protocol authentication error|"
    r"slurm(dbd|_persist_conn)|unexpected message|transport endpoint|no route to host",
    re.IGNORECASE,
)
REFUSED = re.compile(r"(?:submission failed|allocate resources): *(.+)", re.IGNORECASE)

# What Slurm says of a submission -> what the attempt ends with, what to do. First match counts.
REFUSALS: tuple[tuple[str, EndReason, str], ...] = (
    (
        "violates accounting/qos policy",
        EndReason.QUOTA,
        "It asks for more than the cluster lets this team have.",
    ),
    (
        "account",
        EndReason.START_FAILED,
        "Operators: sacctmgr add user <user> account=<account>, or change the pool's account.",
    ),
    ("qos specification", EndReason.START_FAILED, "Operators: look at the pool's option qos."),
    (
        "partition",
        EndReason.START_FAILED,
        "Operators: look at the pool's option partition and who may use it.",
    ),
    (
        "feature",
        EndReason.START_FAILED,
        "Operators: look at the pool's option constraint.",
    ),
    (
        "node configuration is not available",
        EndReason.START_FAILED,
        "No machine of the pool has as many GPUs, CPUs or as much memory.",
    ),
    ("time limit", EndReason.QUOTA, "Launch it again with a shorter time limit."),
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a tool said: its exit status, standard output and error."""

    status: int
    out: bytes
    error: str


class Tools:
    """Slurm's tools with the environment they need."""

    def __init__(self, settings: SlurmSettings) -> None:
        self._path = f"{settings.bin}:{TOOL_PATH}" if settings.bin else TOOL_PATH
        # MUNGE_SOCKET and the like belong to the site; nothing else of ours goes along.
        kept = {name: value for name, value in os.environ.items() if name.startswith("MUNGE")}
        self._env = kept | {
            "PATH": self._path,
            "LANG": "C.UTF-8",
            # Seconds since the epoch instead of the local time of whoever asks.
            "SLURM_TIME_FORMAT": "%s",
        }
        if settings.conf:
            self._env["SLURM_CONF"] = settings.conf

    @property
    def path(self) -> str:
        """Where the tools are looked for."""
        return self._path

    def run(self, *argv: str, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> Answer:
        """Run a tool to its end. Raises BackendUnavailable when it is not there or hangs."""
        program = shutil.which(argv[0], path=self._path)
        if program is None:
            raise BackendUnavailable(f"{argv[0]} is not installed on the portal's machine.")
        try:
            with subprocess.Popen(
                [program, *argv[1:]],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=self._env | dict(env or {}),
                cwd="/",
            ) as process:
                out, error = self._answer_of(process, argv[0], stdin)
        except OSError as failure:
            raise BackendUnavailable(f"{argv[0]} could not be run: {failure}") from failure
        return Answer(process.returncode, out, error.decode(errors="replace").strip())

    def _answer_of(
        self, process: subprocess.Popen[bytes], name: str, stdin: bytes
    ) -> tuple[bytes, bytes]:
        """What a tool says; one that takes long is given up where slurmctld is away."""
        try:
            return process.communicate(stdin, timeout=PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            # The tools go on trying for ten seconds; asking whether it is there takes none.
            is_hopeless = name != "sacct" and not self.is_up()
        try:
            return process.communicate(timeout=0.0 if is_hopeless else TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired as error:
            process.kill()
            process.communicate()
            raise BackendUnavailable(f"{name}: slurmctld does not answer.") from error

    def is_up(self) -> bool:
        """Whether a slurmctld, the first or a backup, answers."""
        program = shutil.which("scontrol", path=self._path)
        if program is None:
            return False
        try:
            done = subprocess.run(
                [program, "ping"],
                capture_output=True,
                timeout=TIMEOUT_SECONDS,
                env=self._env,
                cwd="/",
                check=False,
            )
        except subprocess.TimeoutExpired:
            return False
        return b" is UP" in done.stdout

    def ask(self, *argv: str) -> bytes:
        """Run a tool that only reads; anything but success is BackendUnavailable."""
        answer = self.run(*argv)
        if answer.status != 0:
            raise BackendUnavailable(f"{argv[0]} failed: {last_line(answer.error)}")
        return answer.out


def last_line(words: str) -> str:
    """The line that says why; tools put hints and context before it."""
    lines = [line for line in words.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "it said nothing"


def raise_for_submission(words: str) -> None:
    """Raises what a failed submission means: LaunchRefused for a "no", else BackendUnavailable."""
    line = last_line(words)
    if NO_ANSWER.search(words):
        raise BackendUnavailable(f"Slurm did not take the job: {line}")
    found = REFUSED.search(words)
    said = found.group(1).strip() if found else line
    lower = said.lower()
    for part, reason, advice in REFUSALS:
        if part in lower:
            raise LaunchRefused(f"Slurm refused: {said}. {advice}", reason=reason)
    if found or "invalid" in lower:
        raise LaunchRefused(f"Slurm refused: {said}.")
    raise BackendUnavailable(f"Slurm did not take the job: {line}")
