"""How long a run lives after the last of the credit went."""

from __future__ import annotations

import time
from datetime import timedelta

from portal.schedule import FUNDS_TICK_SECONDS
from tests.bench.settings import FUNDS_GRACE_SECONDS
from tests.bench.stack import Stack, launch
from tests.bench.table import Figure

RUNS = 3
LASTS_SECONDS = 8
GIVE_UP_SECONDS = 120.0


def measure(stack: Stack) -> list[Figure]:
    """Teams whose credit ends at a known instant while something of theirs runs."""
    # Begun at different moments of the sweep's turn.
    lives = [_life(stack, LASTS_SECONDS + 3 * number) for number in range(RUNS)]
    goal = FUNDS_TICK_SECONDS + FUNDS_GRACE_SECONDS
    return [
        Figure(
            "a run after its credit is used up",
            f"at most {max(lives):.1f} s",
            "-",
            "-",
            f"<= {goal} s (tick {FUNDS_TICK_SECONDS}, grace {FUNDS_GRACE_SECONDS})",
            max(lives) <= goal,
        )
    ]


def _life(stack: Stack, lasts_seconds: int) -> float:
    """Seconds from the end of the credit to the end of the run, by the engine's clock."""
    key, ends = stack.seed("--brief", str(lasts_seconds))
    with stack.api(key) as api:
        job = launch(api, "bench zero", "sleep 600", seconds=3600)
        deadline = time.monotonic() + GIVE_UP_SECONDS
        while (state := api.get(f"/jobs/{job}").json())["ended_at"] is None:
            if time.monotonic() > deadline:
                raise RuntimeError(f"the run goes on: {state['status']}")
            time.sleep(0.2)
    ended = stack.ask(
        f"SELECT ended_at - timestamptz '{ends}' FROM clusters_workload WHERE public_id = '{job}'"
    )
    left: timedelta = ended[0][0]
    return left.total_seconds()
