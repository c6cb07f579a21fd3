"""Starts JupyterLab: `python -m fastgpu.lab`, in a prepared environment."""

from __future__ import annotations

import sys


def main() -> None:
    """Start the server with the configuration that the environment names."""
    # A checker of internationalised addresses that takes half of the start to build its grammar.
    # It is an optional part of `jsonschema`, and no schema of Jupyter's asks for it.
    sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]
    from jupyterlab.labapp import LabApp

    LabApp.launch_instance()


main()
