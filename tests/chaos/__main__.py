"""`python -m tests.chaos [--launches 300] [--seconds 90] [--seed N] [--slurm]`: a storm by hand."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from tests.chaos.run import Choice, storm
from tests.slurm.lab import SlurmLab


def main() -> int:
    """Print the plan as it happens, then the figures; 1 where anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--launches", type=int, default=3000)
    parser.add_argument("--seconds", type=float, default=0, help="0: one for every four launches")
    parser.add_argument("--gap", type=float, default=3.0, help="seconds between two kills")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--slurm", action="store_true", help="half of it on a Slurm of its own")
    parser.add_argument("--folder", help="where its data go and stay; else a temporary folder")
    options = parser.parse_args()
    seconds = options.seconds or options.launches / 4
    choice = Choice(options.seed, options.launches, seconds, options.gap)
    with ExitStack() as stack:
        temporary = tempfile.TemporaryDirectory(prefix="fastgpu-chaos-")
        folder = Path(options.folder or stack.enter_context(temporary))
        lab = stack.enter_context(SlurmLab()) if options.slurm else None
        outcome = storm(folder, choice, lab=lab)
    print(outcome.words())
    return 1 if outcome.reckoning.problems else 0


if __name__ == "__main__":
    sys.exit(main())
