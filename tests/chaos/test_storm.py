"""Hundreds of launches on whole stacks while everything under them is killed, by a seed.

CHAOS_SEED=<number> replays what a run printed; `python -m tests.chaos` runs longer ones.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from portal.lib.env import env_int
from tests.chaos.run import Choice, storm
from tests.slurm.lab import SlurmLab

SEED = env_int("CHAOS_SEED", 20261)
pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]


def test_on_this_machine_nothing_is_lost_doubled_or_charged_wrongly(tmp_path: Path) -> None:
    outcome = storm(tmp_path, Choice(SEED, launches=100, seconds=30, gap=2))
    print(outcome.words())
    assert outcome.reckoning.problems == []


@pytest.mark.slurm
def test_with_slurm_nothing_is_lost_doubled_or_charged_wrongly(tmp_path: Path) -> None:
    with SlurmLab() as lab:
        outcome = storm(tmp_path, Choice(SEED + 1, launches=200, seconds=50, gap=2.5), lab=lab)
    print(outcome.words())
    assert outcome.reckoning.problems == []
