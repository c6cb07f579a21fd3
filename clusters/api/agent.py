"""/api/v1/agent/samples: for the agents of our own nodes, not for people."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from io import BytesIO
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from clusters.api.machines import AgentAuthentication
from clusters.telemetry.ingest import Reading, take
from portal.lib import clock
from portal.lib.errors import InvalidInput
from portal.lib.rest import JsonParser

MAX_BODY_BYTES = 256 * 1024
MAX_GPUS = 64
MAX_NAMES = 16
MAX_AGE = timedelta(minutes=15)
MAX_AHEAD = timedelta(seconds=5)


class SampleParser(JsonParser):
    """JSON of a bounded length."""

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        """Raises InvalidInput for a long body, ParseError for what is no JSON."""
        body = stream.read(MAX_BODY_BYTES + 1)
        if len(body) > MAX_BODY_BYTES:
            raise InvalidInput(f"A beat is at most {MAX_BODY_BYTES} bytes long.")
        return super().parse(BytesIO(body), media_type, parser_context)


class _Number(serializers.FloatField):
    """A finite JSON number or null: no text, no true or false, no NaN."""

    def __init__(self, max_value: float, min_value: float = 0.0) -> None:
        super().__init__(
            allow_null=True, required=False, default=None, min_value=min_value, max_value=max_value
        )

    def to_internal_value(self, data: Any) -> float:
        if isinstance(data, bool) or not isinstance(data, int | float):
            self.fail("invalid")
        try:
            number = float(data)
        except OverflowError:
            self.fail("invalid")
        if not math.isfinite(number):
            self.fail("invalid")
        return number


class _Bytes(serializers.IntegerField):
    """A whole JSON number of bytes below 2**50, or null."""

    def __init__(self) -> None:
        super().__init__(
            allow_null=True, required=False, default=None, min_value=0, max_value=2**50
        )

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, bool) or not isinstance(data, int):
            self.fail("invalid")
        return super().to_internal_value(data)


class GpuSampleSerializer(serializers.Serializer[Any]):
    """One GPU of a beat."""

    uuid = serializers.CharField(max_length=80)
    external_names = serializers.ListField(
        child=serializers.CharField(max_length=80), max_length=MAX_NAMES
    )
    utilization_percent = _Number(100)
    memory_used_bytes = _Bytes()
    power_watts = _Number(100_000)
    temperature_celsius = _Number(1_000, min_value=-273.15)


class BeatSerializer(serializers.Serializer[Any]):
    """What one node saw in one second."""

    node = serializers.CharField(max_length=100)
    at = serializers.DateTimeField()
    gpus = serializers.ListField(child=GpuSampleSerializer(), max_length=MAX_GPUS)

    def validate_at(self, at: datetime) -> datetime:
        """Not from the future, and no older than what an agent keeps."""
        now = clock.now()
        if not now - MAX_AGE <= at <= now + MAX_AHEAD:
            raise serializers.ValidationError(
                "From 15 minutes ago to 5 seconds ahead of the portal's clock."
            )
        return at


class AgentSamplesView(APIView):
    """Telemetry in."""

    authentication_classes = [AgentAuthentication]
    parser_classes = [SampleParser]

    @extend_schema(exclude=True)
    def post(self, request: Request) -> Response:
        """Store one beat; answers how many of its samples belong to running work."""
        body = BeatSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        beat = body.validated_data
        readings = [
            Reading(**{**gpu, "external_names": tuple(gpu["external_names"])})
            for gpu in beat["gpus"]
        ]
        return Response({"stored": take(beat["at"], readings)}, status=status.HTTP_202_ACCEPTED)
