"""The portal's settings for a process that is to die at a chosen step.

The engines lie below CHAOS_ROOT. Hints, events and the cache stay in the process: none of them
carries a fact.
"""

from pathlib import Path

from portal.lib.env import env_str
from portal.settings import *  # noqa: F403
from portal.settings import DATABASES
from tests.chaos.engine import engines_below

DATABASES["default"]["ENGINE"] = "tests.chaos.steps_db"
# A pool has threads; a short life needs one connection.
DATABASES["default"]["OPTIONS"].pop("pool")  # type: ignore[attr-defined]
BACKENDS = engines_below(Path(env_str("CHAOS_ROOT")))
CELERY_BROKER_URL = "memory://"
CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
