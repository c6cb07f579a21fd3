"""What a volume has left, kept in its row: set aside before it is written.

`used_bytes` is what was measured and what was set aside since; the next measure corrects it.
"""

from __future__ import annotations

from django.db.models import BigIntegerField, F, Value
from django.db.models.functions import Cast, Greatest

from clusters.models import Volume
from portal.lib.errors import NotFound, TooLarge
from portal.lib.sizes import GIB, format_bytes
from portal.lib.tasks import hint

_BIG = BigIntegerField()


class RoomOf:
    """The room of one volume. Each call is one statement, from any thread."""

    def __init__(self, volume: Volume) -> None:
        self._key = volume.pk

    def take(self, size: int) -> None:
        """Set `size` bytes aside. Raises TooLarge where there is less, NotFound once removed."""
        quota = Cast(F("size_gib"), _BIG) * Value(GIB, _BIG)
        used = F("used_bytes") + Value(size, _BIG)
        rows = Volume.objects.filter(pk=self._key, removed_at__isnull=True)
        fits = rows.annotate(after=used, quota=quota).filter(after__lte=F("quota"))
        if not fits.update(used_bytes=used):
            self._refuse(size)

    def give_back(self, size: int) -> None:
        """`size` bytes are free again."""
        left = Greatest(F("used_bytes") - Value(size, _BIG), Value(0, _BIG))
        Volume.objects.filter(pk=self._key).update(used_bytes=left)

    def _refuse(self, size: int) -> None:
        volume = Volume.objects.filter(pk=self._key, removed_at__isnull=True).first()
        if volume is None:
            raise NotFound("The volume was removed.")
        # Perhaps files were deleted in a notebook since.
        hint("clusters.tasks.measure_volume", volume.pk, expires=60)
        left = max(0, volume.size_bytes - volume.used_bytes)
        raise TooLarge(
            f"This takes {format_bytes(size)} more, and {volume.name} has {format_bytes(left)} "
            f"left of {volume.size_gib} GiB. Remove files or make it larger."
        )
