"""`python -m tests.bench.one_tick ENGINE`: prints the seconds one tick takes, started warm.

Run with the environment of the stack it is for.
"""

from __future__ import annotations

import sys
import time

import django

django.setup()

from clusters.control.observe import observe_engine  # noqa: E402
from clusters.models import Engine, Pool  # noqa: E402
from clusters.tasks import drive_pool  # noqa: E402


def main(name: str) -> float:
    """One look and one drive, as the sweep asks for them; the first warms up."""
    took = 0.0
    for _ in range(2):
        began = time.monotonic()
        while not observe_engine(name, owner="bench"):
            # The worker of the stack has its turn: ours comes.
            Engine.objects.filter(name=name).update(surveyed_at=None)
            began = time.monotonic()
        for pool in Pool.objects.filter(backend=name):
            drive_pool(pool.pk)
        took = time.monotonic() - began
    return took


if __name__ == "__main__":
    print(main(sys.argv[1]))
