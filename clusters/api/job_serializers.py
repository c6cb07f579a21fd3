"""Shapes of jobs in the API."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from clusters.actions.request_checks import MAX_COMMAND_BYTES, MAX_RETRIES
from clusters.api.serializers import INT32, StrictInteger, StrictString
from clusters.api.workload_serializers import (
    LaunchSerializer,
    WithAttemptsSerializer,
    WorkloadSerializer,
)


class JobRequestSerializer(LaunchSerializer):
    """The body of POST /jobs."""

    nodes = StrictInteger(
        default=1,
        min_value=1,
        max_value=INT32,
        help_text="The command runs once on each. Above 1 only in pools that offer it.",
    )
    retries = StrictInteger(
        default=0,
        min_value=0,
        max_value=MAX_RETRIES,
        help_text="How often it is run again when the command ends with an error. Lost machines "
        "are retried always; exit code 75 asks to be run again.",
    )
    command = StrictString(help_text=f"Run by bash; at most {MAX_COMMAND_BYTES:,} bytes.")
    env = serializers.DictField(child=StrictString(), default=dict)
    time_limit_seconds = StrictInteger(default=3600, min_value=1, max_value=INT32)


class JobSerializer(WorkloadSerializer):
    """A job. Money in micro-units of the currency, times in UTC."""

    nodes = serializers.IntegerField()
    retries = serializers.IntegerField(source="max_retries")
    command = serializers.CharField()
    env = serializers.DictField(child=serializers.CharField())
    time_limit_seconds = serializers.IntegerField()


class JobDetailSerializer(JobSerializer, WithAttemptsSerializer):
    """A job with every attempt, oldest first."""


class JobListSerializer(serializers.Serializer[Any]):
    """A page of jobs, newest first; `next` is the value of `?before=` for the page after."""

    jobs = JobSerializer(many=True)
    next = serializers.CharField(allow_null=True)
