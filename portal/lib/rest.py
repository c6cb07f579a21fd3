"""One error shape for the API: `{"error": {"code", "message", "fields"}}`."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404
from rest_framework import exceptions, serializers, status
from rest_framework.parsers import JSONParser
from rest_framework.response import Response

from portal.lib.errors import PortalError

_CODES = {
    exceptions.NotAuthenticated: "not_signed_in",
    exceptions.AuthenticationFailed: "not_signed_in",
    exceptions.PermissionDenied: "not_allowed",
    exceptions.NotFound: "not_found",
    exceptions.ParseError: "malformed",
    exceptions.MethodNotAllowed: "method_not_allowed",
    exceptions.UnsupportedMediaType: "unsupported_media_type",
    exceptions.NotAcceptable: "not_acceptable",
    exceptions.Throttled: "too_many",
}


class ErrorDetailSerializer(serializers.Serializer[Any]):
    """What went wrong."""

    code = serializers.CharField()
    message = serializers.CharField()
    fields = serializers.DictField(child=serializers.CharField())  # type: ignore[assignment]


class ErrorSerializer(serializers.Serializer[Any]):
    """The one error shape."""

    error = ErrorDetailSerializer()


class JsonParser(JSONParser):
    """JSON that is not nested past what a parser can follow."""

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        """Raises ParseError for what is no JSON."""
        try:
            return super().parse(stream, media_type, parser_context)
        except RecursionError as error:
            raise exceptions.ParseError("The JSON is nested too deeply.") from error


def error_body(code: str, message: str, fields: dict[str, str] | None = None) -> dict[str, Any]:
    """The one shape."""
    return {"error": {"code": code, "message": message, "fields": fields or {}}}


def handle_exception(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's hook: our errors, DRF's and Django's become one shape; others stay 500."""
    if isinstance(error, PortalError):
        return Response(
            error_body(error.code, error.message, error.fields), status=error.http_status
        )
    if isinstance(error, Http404):
        error = exceptions.NotFound("There is nothing here.")
    elif isinstance(error, PermissionDenied):
        error = exceptions.PermissionDenied()
    if isinstance(error, exceptions.ValidationError):
        fields = _flatten(error.detail)
        message = next(iter(fields.values()), "The request is not valid.")
        return Response(error_body("invalid", message, fields), status=status.HTTP_400_BAD_REQUEST)
    if isinstance(error, exceptions.APIException):
        headers = {}
        if header := getattr(error, "auth_header", None):
            headers["WWW-Authenticate"] = header
        return Response(
            error_body(_CODES.get(type(error), "error"), str(error.detail)),
            status=error.status_code,
            headers=headers,
        )
    return None


def _flatten(detail: Any, path: str = "") -> dict[str, str]:
    if isinstance(detail, dict):
        flat: dict[str, str] = {}
        for key, value in detail.items():
            name = str(key) if key != "non_field_errors" else ""
            flat.update(_flatten(value, f"{path}.{name}".strip(".")))
        return flat
    if isinstance(detail, list):
        first = detail[0] if detail else ""
        return _flatten(first, path)
    return {path or "request": str(detail)}
