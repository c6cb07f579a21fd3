"""`python -m fastgpu.run_notebook IN OUT`: runs a notebook without a browser.

OUT is written as it runs, whole at every moment: the cells, what they have shown so far and the
parameters they ran with. The log gets what cells print, and the traceback of the one that fails.
Ends with 0 when all cells ran, 1 when one failed, 2 when there was nothing to run, 143 after
SIGTERM. Needs nbclient, and papermill for parameters, from the environment of the notebook.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

FAILED, NOTHING_TO_RUN, STOPPED = 1, 2, 143


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the notebook that the command line names; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        from fastgpu import headless
    except ImportError as error:
        return _refuse(f"This environment has no {error.name}: choose one made for notebooks.")
    try:
        notebook = headless.read(options.notebook)
    except FileNotFoundError:
        return _refuse(f"There is no notebook {options.notebook}.")
    except (OSError, headless.Unusable) as error:
        return _refuse(f"{options.notebook} cannot be read as a notebook: {error}")
    try:
        run = headless.Run(notebook, options.output, kernel=options.kernel)
        run.take(options.parameters)
        return run.run(options.notebook.resolve().parent)
    except headless.Unusable as error:
        return _refuse(str(error))
    except OSError as error:
        return _refuse(f"{options.output} cannot be written: {error}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m fastgpu.run_notebook")
    parser.add_argument("notebook", type=Path, help="the notebook; it is not changed")
    parser.add_argument("output", type=Path, help="where what it shows is kept")
    parser.add_argument(
        "--parameters", type=_object, default={}, metavar="JSON",
        help="set in a cell after the one tagged `parameters`, else before all others",
    )  # fmt: skip
    parser.add_argument("--kernel", default="", help="another kernel than the notebook names")
    return parser


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"no JSON: {error}") from error
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError("a JSON object is needed, such as {}")
    return value


def _refuse(words: str) -> int:
    sys.stderr.write(f"{words}\n")
    return NOTHING_TO_RUN


def _exit() -> NoReturn:
    sys.exit(main())


if __name__ == "__main__":
    _exit()
