"""The portal's settings with an engine that does nothing beside the real ones, and less grace."""

from portal.settings import *  # noqa: F403
from portal.settings import BACKENDS

BACKENDS["noop"] = {"factory": "tests.bench.noop.NoopBackend", "label": "Nothing"}
# Short, for it is waited for.
FUNDS_GRACE_SECONDS = 5
# Of an environment that no pool has, until notebooks are measured.
STANDBY = ["lab-warm=1"]
