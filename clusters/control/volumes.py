"""What becomes of volumes by themselves: the removed are erased, all are measured now and then.

Both work outside any transaction and may run twice at once: erasing and measuring again changes
nothing. A mark in the cache keeps that from happening for nothing.
"""

from __future__ import annotations

import logging
import time

from django.core.cache import cache
from django.db.models import F
from django.db.models.functions import Greatest

from clusters.actions.trees import keeper, open_tree
from clusters.backends.base import BackendError
from clusters.files.measure import measure
from clusters.models import Volume
from portal.lib import clock
from portal.lib.errors import PortalError

logger = logging.getLogger(__name__)
ERASE_MARK_SECONDS = 600
# One volume, and one sweep, take no longer; who took long is looked at the more rarely.
MEASURE_SECONDS = 20.0
SWEEP_SECONDS = 120.0
REST_FACTOR = 20
LEAST_REST_SECONDS = 60
LEAST_REST_ASKED_SECONDS = 10


def erase_removed() -> int:
    """Erase the files of removed volumes; returns how many are gone for good now."""
    left = Volume.objects.filter(removed_at__isnull=False, erased_at__isnull=True)
    return sum(_erase(volume) for volume in left.order_by("removed_at"))


def _erase(volume: Volume) -> bool:
    engine = keeper(volume.backend)
    mark = f"volume-erase:{volume.pk}"
    if engine is None or not cache.add(mark, 1, ERASE_MARK_SECONDS):
        return False
    try:
        engine.erase_volume(volume.public_id)
    except (BackendError, OSError) as error:
        logger.warning("volume %s is not erased yet: %s", volume.public_id, error)
        return False
    finally:
        cache.delete(mark)
    return bool(
        Volume.objects.filter(pk=volume.pk, erased_at__isnull=True).update(erased_at=clock.now())
    )


def measure_all() -> int:
    """Measure volumes, those first that were not for longest; returns how many were."""
    until = time.monotonic() + SWEEP_SECONDS
    volumes = Volume.objects.filter(removed_at__isnull=True)
    measured = 0
    for volume in volumes.order_by(F("measured_at").asc(nulls_first=True), "pk").iterator():
        if time.monotonic() > until:
            break
        measured += measure_one(volume)
    return measured


def measure_asked(volume: Volume) -> bool:
    """Measure one that somebody waits for, though it may rest yet."""
    if not cache.add(f"volume-asked:{volume.pk}", 1, LEAST_REST_ASKED_SECONDS):
        return False
    cache.delete(f"volume-measure:{volume.pk}")
    return measure_one(volume)


def measure_one(volume: Volume, *, seconds: float = MEASURE_SECONDS) -> bool:
    """Measure one volume; False where it rests, or where what it holds stays unknown."""
    mark = f"volume-measure:{volume.pk}"
    if cache.get(mark):
        return False
    began_at, began = clock.now(), time.monotonic()
    try:
        with open_tree(volume) as tree:
            found = measure(tree, seconds=seconds)
    except (PortalError, OSError) as error:
        logger.warning("volume %s cannot be measured: %s", volume.public_id, error)
        return False
    finally:
        took = time.monotonic() - began
        cache.set(mark, 1, LEAST_REST_SECONDS + int(took * REST_FACTOR))
    rows = Volume.objects.filter(pk=volume.pk, removed_at__isnull=True)
    if not found.is_whole:
        # So much it holds at the least, and how much else is not known.
        rows.update(used_bytes=Greatest(F("used_bytes"), found.used_bytes))
        return False
    return bool(rows.update(used_bytes=found.used_bytes, measured_at=began_at))
