"""One real Slurm for all tests that need one (a pytest plugin)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.slurm.lab import SlurmLab, missing

TEAMS = (7, 8, 9)


@pytest.fixture(scope="session")
def slurm_lab() -> Iterator[SlurmLab]:
    """See SlurmLab. Accounts are enforced; the teams in TEAMS have one."""
    reason = missing()
    if reason:
        pytest.skip(f"no Slurm can be had here: {reason}")
    with SlurmLab(enforce=True) as lab:
        for team in TEAMS:
            lab.add_user(team)
        yield lab
