"""Shapes of the API of volumes and their files."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from clusters.actions.volumes import MAX_NAME
from clusters.api.serializers import StrictInteger, StrictString
from clusters.choices import WorkloadKind
from clusters.files.tree import Entry, Kind
from clusters.models import Workload
from clusters.models.volume import MAX_GIB
from clusters.queries.volumes import VolumeRow


class VolumeRequestSerializer(serializers.Serializer[Any]):
    """The body of POST /volumes."""

    name = StrictString(help_text=f"At most {MAX_NAME} characters; one volume of a name a team.")
    size_gib = StrictInteger(
        min_value=1, max_value=MAX_GIB, help_text="Its quota, and what is billed by the month."
    )
    pool = StrictString(
        default="",
        help_text="Slug of a pool that shall mount it, and with it all pools of the same engine. "
        "Empty: the first that keeps volumes.",
    )


class VolumeChangeSerializer(serializers.Serializer[Any]):
    """The body of PATCH /volumes/{id}: what is not sent stays."""

    name = StrictString(required=False)
    size_gib = StrictInteger(required=False, min_value=1, max_value=MAX_GIB)


class MountSerializer(serializers.Serializer[Workload]):
    """Something that has the volume mounted."""

    id = serializers.CharField(source="public_id")
    kind = serializers.ChoiceField(choices=WorkloadKind.choices)
    name = serializers.CharField()


class VolumeSerializer(serializers.Serializer[VolumeRow]):
    """A volume. `used_bytes` is what was measured at `measured_at`; null: not measured yet."""

    id = serializers.CharField(source="volume.public_id")
    name = serializers.CharField(source="volume.name")
    size_gib = serializers.IntegerField(source="volume.size_gib")
    used_bytes = serializers.IntegerField(allow_null=True)
    measured_at = serializers.DateTimeField(source="volume.measured_at", allow_null=True)
    created_at = serializers.DateTimeField(source="volume.created_at")
    price_micros_per_month = serializers.IntegerField(
        source="month_micros", help_text="For 730 hours at this size, in micro-units."
    )
    pools = serializers.SerializerMethodField()
    mounted_by = MountSerializer(source="mounted", many=True)
    may_change = serializers.BooleanField(help_text="Whether you may rename, resize, remove it.")

    @extend_schema_field(serializers.ListField(child=serializers.CharField()))
    def get_pools(self, row: VolumeRow) -> list[str]:
        """Slugs of the pools that can mount it."""
        return [pool.slug for pool in row.pools]


class VolumeListSerializer(serializers.Serializer[Any]):
    """The team's volumes."""

    volumes = VolumeSerializer(many=True)


class EntrySerializer(serializers.Serializer[Entry]):
    """Something in a folder; `size_bytes` is null for all but files. Links are not followed."""

    name = serializers.CharField()
    kind = serializers.ChoiceField(choices=[(kind.value, kind.value) for kind in Kind])
    size_bytes = serializers.IntegerField(allow_null=True)
    modified_at = serializers.DateTimeField()


class PlacedEntrySerializer(EntrySerializer):
    """An entry with its path in the volume."""

    path = serializers.CharField()


class FolderSerializer(serializers.Serializer[Any]):
    """Part of a folder; `next` is the value of `?start=` for what follows, null at the end.

    `is_cut`: the folder has more entries than are ever listed.
    """

    path = serializers.CharField()
    entries = EntrySerializer(many=True)
    total = serializers.IntegerField()
    is_cut = serializers.BooleanField()
    next = serializers.IntegerField(allow_null=True)


class FileActionSerializer(serializers.Serializer[Any]):
    """The body of POST /volumes/{id}/files/{path}."""

    action = serializers.ChoiceField(choices=["mkdir", "move"])
    to = StrictString(default="", help_text="For move: the new path in the volume.")
    parents = serializers.BooleanField(
        default=False, help_text="For mkdir: make missing folders above it too."
    )


class DeletionSerializer(serializers.Serializer[Any]):
    """How far a deletion came. Ask again for the same until `complete`."""

    removed = serializers.IntegerField()
    complete = serializers.BooleanField()


class UnpackedSerializer(serializers.Serializer[Any]):
    """The folder an archive became; `left_out` counts links and devices in it."""

    path = serializers.CharField()
    entries = serializers.IntegerField()
    left_out = serializers.IntegerField()
