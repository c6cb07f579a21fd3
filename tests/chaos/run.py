"""A storm from the start of its stack to the last figure."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from pathlib import Path

from tests.chaos.pace import Pace
from tests.chaos.plan import Plan
from tests.chaos.reckoning import Lost, Reckoning, reckon
from tests.chaos.slurm_victims import SLURM_PARTS, SlurmParts
from tests.chaos.storm import Report, Storm
from tests.chaos.victims import PARTS, Parts
from tests.slurm.lab import SlurmLab
from tests.stacks.portal import running

GHOST_SECONDS = 15.0
# Servers that stand by are no attempts; what else is found running is a ghost.
SETTINGS = {"LOCAL_VIRTUAL_GPUS": "32", "LOG_LEVEL": "WARNING", "STANDBY": "python-data=0"}


@dataclass(frozen=True, slots=True)
class Choice:
    """Which storm: everything in it follows from these."""

    seed: int
    launches: int
    seconds: float
    gap: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a storm."""

    choice: Choice
    report: Report
    reckoning: Reckoning

    def words(self) -> str:
        """Figures, then what is wrong."""
        report, found = self.report, self.reckoning
        struck = ", ".join(f"{name} {count}" for name, count in sorted(report.struck.items()))
        repeats = ", ".join(f"{what} {count}" for what, count in sorted(report.repeats.items()))
        reasons = ", ".join(f"{name} {count}" for name, count in sorted(found.reasons.items()))
        return f"""\
seed {self.choice.seed}: {len(report.jobs)} launches, {found.attempts} attempts in \
{report.seconds:.0f} s, all ended after {report.settled_after:.0f} s
killed {sum(report.struck.values())} times: {struck}
requests repeated {sum(report.repeats.values())} times: {repeats}
ended: {reasons}; breakers closed {report.breakers_closed} times
metering off by at most {found.worst_start:.3f} s at the start, {found.worst_end:.3f} s at the end
programs took up to {found.pace.slowest(0, inf):.3f} s to start
problems: {len(found.problems)}
{chr(10).join(found.problems[:40])}"""


def storm(
    folder: Path,
    choice: Choice,
    *,
    lab: SlurmLab | None = None,
    say: Callable[[str], None] = print,
) -> Outcome:
    """Start a stack below `folder`, let the storm pass, and reckon."""
    with running(folder / "var", SETTINGS | (lab.env if lab else {})) as stack:
        parts = Parts(stack)
        slurm = SlurmParts(lab) if lab else None
        if slurm:
            slurm.add_pool(stack)
        plan = Plan.make(
            choice.seed,
            launches=choice.launches,
            seconds=choice.seconds,
            pools=["a100", "slurm"] if slurm else ["a100"],
            targets=PARTS | (SLURM_PARTS if slurm else {}),
            gap=choice.gap,
        )
        say(f"seed {choice.seed}: {len(plan.wishes)} launches, {len(plan.strikes)} kills")
        if slurm:
            weather = Storm(
                stack,
                parts,
                plan,
                more=slurm.strikes(),
                after=slurm.wait,
                tend=slurm.tend,
                say=say,
            )
        else:
            weather = Storm(stack, parts, plan, say=say)
        with Pace() as pace:
            report = weather.run()
        lost = Lost(
            parts.struck,
            slurm.lost_nodes if slurm else set(),
            slurm.forgot_at if slurm else [],
        )
        reckoning = reckon(stack, plan, report, environment=parts.environment, lost=lost, pace=pace)
        reckoning.problems += _ghosts(parts, set(report.jobs.values()))
    return Outcome(choice, report, reckoning)


def _ghosts(parts: Parts, runs: set[str]) -> list[str]:
    deadline = time.monotonic() + GHOST_SECONDS
    while (left := parts.ghosts(runs)) and time.monotonic() < deadline:
        time.sleep(0.2)
    return [f"ghost: {what}" for what in left]


def seed_from_environment(default: int) -> int:
    """CHAOS_SEED, to replay what a run printed."""
    return int(os.environ.get("CHAOS_SEED", default))
