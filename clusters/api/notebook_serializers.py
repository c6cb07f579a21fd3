"""Shapes of notebooks in the API."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from clusters.actions.notebook_checks import DEFAULT_LIFETIME_SECONDS
from clusters.actions.request_checks import MAX_IDLE_MINUTES
from clusters.addresses import open_address
from clusters.api.serializers import INT32, StrictInteger
from clusters.api.workload_serializers import (
    LaunchSerializer,
    WithAttemptsSerializer,
    WorkloadSerializer,
)
from clusters.choices import Reason, WorkloadStatus
from clusters.models import NotebookShare, Workload

_IDLE = "Minutes of idleness after which it is stopped; 0: never."
_STOP_AT = "When it is stopped at the latest; null: no such time."


class NotebookRequestSerializer(LaunchSerializer):
    """The body of POST /notebooks."""

    idle_minutes = StrictInteger(
        default=None,
        allow_null=True,
        min_value=0,
        max_value=MAX_IDLE_MINUTES,
        help_text=f"{_IDLE} Left out: what this installation has chosen.",
    )
    lifetime_seconds = StrictInteger(
        default=DEFAULT_LIFETIME_SECONDS,
        min_value=1,
        max_value=INT32,
        help_text="It runs so long at most, counted anew with each start.",
    )
    stop_at = serializers.DateTimeField(default=None, allow_null=True, help_text=_STOP_AT)


class NotebookSerializer(WorkloadSerializer):
    """A notebook. Money in micro-units of the currency, times in UTC.

    `url` opens it in the browser of who is signed in and may. It is of use once `is_ready`.
    """

    created_by = serializers.EmailField(source="created_by.email")
    lifetime_seconds = serializers.IntegerField(source="time_limit_seconds")
    idle_minutes = serializers.IntegerField(source="notebook.idle_minutes", help_text=_IDLE)
    stop_at = serializers.DateTimeField(
        source="notebook.stop_at", allow_null=True, help_text=_STOP_AT
    )
    keep_until = serializers.DateTimeField(
        source="notebook.keep_until", allow_null=True, help_text="Until then idleness counts not."
    )
    idle_since = serializers.DateTimeField(source="notebook.idle_since", allow_null=True)
    stops_at = serializers.DateTimeField(
        source="notebook.stops_at", allow_null=True, help_text="The end of a countdown that runs."
    )
    stops_for = serializers.ChoiceField(
        source="notebook.stops_for", choices=Reason.choices, allow_blank=True
    )
    is_ready = serializers.SerializerMethodField()
    url = serializers.SerializerMethodField()

    def get_is_ready(self, notebook: Workload) -> bool:
        """Whether its server answers."""
        return notebook.status == WorkloadStatus.RUNNING and notebook.reason == Reason.RUNNING

    def get_url(self, notebook: Workload) -> str:
        """Where it opens."""
        return open_address(notebook)


class NotebookDetailSerializer(NotebookSerializer, WithAttemptsSerializer):
    """A notebook with every attempt, oldest first."""


class NotebookListSerializer(serializers.Serializer[Any]):
    """A page of notebooks, newest first; `next` is the value of `?before=` for the page after."""

    notebooks = NotebookSerializer(many=True)
    next = serializers.CharField(allow_null=True)


class NotebookChangeSerializer(serializers.Serializer[Any]):
    """The body of PATCH /notebooks/{id}: what is left out stays."""

    idle_minutes = StrictInteger(
        required=False, min_value=0, max_value=MAX_IDLE_MINUTES, help_text=_IDLE
    )
    stop_at = serializers.DateTimeField(required=False, allow_null=True, help_text=_STOP_AT)


class GrantSerializer(serializers.Serializer[Any]):
    """What lets a program in: send `Authorization: token TOKEN` to paths below `url`."""

    url = serializers.CharField()
    token = serializers.CharField(help_text="Shown this once.")
    expires_at = serializers.DateTimeField()


class ShareSerializer(serializers.Serializer[NotebookShare]):
    """A link that lets members of the team open the notebook."""

    id = serializers.CharField(source="public_id")
    created_by = serializers.EmailField(source="created_by.email")
    created_at = serializers.DateTimeField()
    guests = serializers.SerializerMethodField(help_text="Who has followed it.")

    def get_guests(self, share: NotebookShare) -> list[str]:
        """Their addresses."""
        return [guest.user.email for guest in share.guests.all()]


class ShareListSerializer(serializers.Serializer[Any]):
    """The links that hold, newest first."""

    shares = ShareSerializer(many=True)


class NewShareSerializer(ShareSerializer):
    """A new link."""

    url = serializers.SerializerMethodField(help_text="Shown this once.")

    def get_url(self, _share: NotebookShare) -> str:
        """What to send to whom."""
        url: str = self.context["url"]
        return url
