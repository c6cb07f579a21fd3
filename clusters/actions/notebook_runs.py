"""A notebook of a volume that runs as a job: no browser, and what it shows kept beside it."""

from __future__ import annotations

import json
import keyword
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

from accounts.actor import Actor
from clusters.actions.jobs import launch_attempt
from clusters.actions.launch_checks import JobRequest, check_launch, pool_asked
from clusters.actions.notebook_checks import BARE, environments_of
from clusters.models import Attempt, Workload
from portal.lib import clock
from portal.lib.errors import InvalidInput

# Of the SDK that every sandbox sees; it ends with 0, or tells why not.
RUNNER = "exec python -m fastgpu.run_notebook"
WORKSPACE = "/workspace/"
MAX_PATH = 500
MAX_PARAMETERS = 100
MAX_PARAMETER_BYTES = 20_000
MAX_PARAMETER_DEPTH = 20
SUFFIX = ".ipynb"


@dataclass(frozen=True, slots=True)
class NotebookRun:
    """A run of a notebook as asked for.

    `notebook` is its path in the volume whose id is `volume`; what it shows is kept beside it, or
    in `output_folder` of the same volume. `parameters` are set in a cell before the others.
    """

    name: str
    pool: str
    volume: str
    notebook: str
    output_folder: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    gpus: int = 1
    environment: str = ""
    time_limit_seconds: int = 3600
    project: str = ""
    max_cost_micros: int = 0


@dataclass(frozen=True, slots=True)
class Launched:
    """A run that was launched, and where in its volume the output will lie."""

    job: Workload
    attempt: Attempt
    output: str


def run_notebook(actor: Actor, run: NotebookRun, *, at: datetime | None = None) -> Launched:
    """Launch it as a job; its output is named after `at`, now if that is not given.

    Raises InvalidInput, InsufficientFunds. Nothing is made when it raises; a caller that goes on in
    a transaction of its own wraps the call in another.
    """
    check_run(actor, run)
    output = output_of(run, at or clock.now())
    job, attempt = launch_attempt(actor, _job(actor, run, output))
    return Launched(job, attempt, output)


def check_run(actor: Actor, run: NotebookRun) -> None:
    """Raises InvalidInput naming every field that is wrong."""
    problems = {
        "notebook": check_notebook(run.notebook),
        "output_folder": check_folder(run.output_folder),
        "parameters": check_parameters(run.parameters),
        "volume": "" if run.volume else "Choose the volume that the notebook lies in.",
        "environment": "The bare system has no Jupyter. Choose another environment."
        if run.environment == BARE
        else "",
    }
    found = {name: problem for name, problem in problems.items() if problem}
    try:
        check_launch(actor, _job(actor, run, ""))
    except InvalidInput as error:
        found = {**error.fields, **found}
    if found:
        raise InvalidInput(next(iter(found.values())), fields=found)


def output_of(run: NotebookRun, at: datetime) -> str:
    """Where in the volume the output of a run at `at` lies."""
    notebook = PurePosixPath(clean_path(run.notebook))
    folder = clean_path(run.output_folder) or str(notebook.parent)
    return str(PurePosixPath(folder) / f"{notebook.stem}-{at:%Y%m%d-%H%M%S}{SUFFIX}")


def command_of(run: NotebookRun, output: str) -> str:
    """What bash is to run in the volume."""
    words = []
    if run.parameters:
        words += ["--parameters", json.dumps(run.parameters, ensure_ascii=False)]
    words += ["--", clean_path(run.notebook), output]
    return f"{RUNNER} {shlex.join(words)}"


def clean_path(path: str) -> str:
    """A path in the volume as people write it, relative to the volume."""
    return path.strip().removeprefix(WORKSPACE).strip("/")


def check_notebook(path: str) -> str:
    """The path of a notebook."""
    if not clean_path(path):
        return "Say which notebook, for example: reports/daily.ipynb"
    if not path.strip().endswith(SUFFIX):
        return f"The path of a notebook ends with {SUFFIX}."
    return _check_path(path)


def check_folder(path: str) -> str:
    """A folder, or "" for that of the notebook."""
    return _check_path(path) if clean_path(path) else ""


def _check_path(path: str) -> str:
    if len(path) > MAX_PATH:
        return f"A path has at most {MAX_PATH} characters; this one has {len(path)}."
    if not path.isprintable():
        return "A path is plain text on one line, without control characters."
    if path.strip().startswith("/") and not path.strip().startswith(WORKSPACE):
        return f"Give the path in the volume, which is mounted at {WORKSPACE.rstrip('/')}."
    if any(part in ("", ".", "..") for part in clean_path(path).split("/")):
        return "Give the path in the volume, without . and .. in it."
    return ""


def check_parameters(parameters: Mapping[str, Any]) -> str:
    """Names of variables, and values that are JSON."""
    if len(parameters) > MAX_PARAMETERS:
        return f"At most {MAX_PARAMETERS} parameters are taken."
    for name in parameters:
        if not name.isidentifier() or keyword.iskeyword(name):
            return f"{name[:40]!r} is no name of a variable."
    if _is_deeper(list(parameters.values()), MAX_PARAMETER_DEPTH):
        return f"A parameter nests more than {MAX_PARAMETER_DEPTH} deep."
    return _check_text(parameters)


def _check_text(parameters: Mapping[str, Any]) -> str:
    try:
        text = json.dumps(dict(parameters), ensure_ascii=False, allow_nan=False)
        size = len(text.encode())
    except ValueError:
        return "A parameter holds a value that is not JSON text or a number."
    if "\\u0000" in text:
        return "A parameter holds a NUL character. Remove it."
    if size > MAX_PARAMETER_BYTES:
        return f"The parameters have {size:,} bytes; at most {MAX_PARAMETER_BYTES:,} are taken."
    return ""


def _is_deeper(value: Any, most: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value
    if not isinstance(value, dict | list):
        return False
    return most < 0 or any(_is_deeper(one, most - 1) for one in inner)


def _job(actor: Actor, run: NotebookRun, output: str) -> JobRequest:
    pool = pool_asked(actor, run.pool)
    first = next(iter(environments_of(pool)), BARE) if pool else ""
    # What is wrong with a path or a parameter is told at its own field.
    is_good = not (check_notebook(run.notebook) or check_parameters(run.parameters))
    return JobRequest(
        name=run.name,
        pool=run.pool,
        gpus=run.gpus,
        command=command_of(run, output) if is_good else RUNNER,
        time_limit_seconds=run.time_limit_seconds,
        environment=run.environment or first,
        project=run.project,
        max_cost_micros=run.max_cost_micros,
        volume=run.volume,
    )
