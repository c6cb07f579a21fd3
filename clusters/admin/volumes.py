"""Volumes, as staff see them: what is kept, where, and what of it is still to be erased."""

from __future__ import annotations

from django.contrib import admin
from unfold.decorators import display

from clusters.models import Volume
from portal.lib.sizes import format_bytes
from portal.lib.staff import LookOnlyAdmin

STATE_COLOURS = {"Kept": "success", "To be erased": "warning", "Erased": "default"}


@admin.register(Volume)
class VolumeAdmin(LookOnlyAdmin):
    """Volumes, the removed ones too: bills name them."""

    list_display = ("public_id", "name", "team", "backend", "size_gib", "used", "state")
    list_filter = ("backend",)
    list_select_related = ("team",)
    search_fields = ("public_id", "name", "team__name")
    ordering = ("-pk",)
    fields = (
        "public_id", "name", "team", "created_by", "backend", "size_gib", "used", "measured_at",
        "created_at", "removed_at", "erased_at",
    )  # fmt: skip
    readonly_fields = ("public_id", "created_at", "used")

    @admin.display(description="Used", ordering="used_bytes")
    def used(self, volume: Volume) -> str:
        """As far as it is known."""
        return format_bytes(volume.used_bytes) if volume.measured_at else "Not measured yet"

    @display(description="State", label=STATE_COLOURS)  # type: ignore[untyped-decorator]
    def state(self, volume: Volume) -> str:
        """Whether its files are there."""
        if volume.removed_at is None:
            return "Kept"
        return "Erased" if volume.erased_at else "To be erased"
