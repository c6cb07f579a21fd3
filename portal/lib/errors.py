"""Errors our verbs raise, drawn in one tree; pages and the API turn them into answers.

PortalError
|- InvalidInput        400  a field is wrong; `fields` says which and why
|- NotSignedIn         401
|- InsufficientFunds   402
|- NotAllowed          403
|- NotFound            404  also for what belongs to somebody else
|- Conflict            409
|- TooLarge            413
|- TooMany             429
`- Unavailable         503
"""

from __future__ import annotations

from collections.abc import Mapping


class PortalError(Exception):
    """A refusal with a stable `code`, a sentence for people and, where it applies, fields."""

    code = "error"
    http_status = 400

    def __init__(self, message: str, *, fields: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.fields = dict(fields or {})


class InvalidInput(PortalError):
    """Something typed in cannot be used."""

    code = "invalid"
    http_status = 400

    @classmethod
    def of(cls, **fields: str) -> InvalidInput:
        """An error whose sentence is that of its first field."""
        return cls(next(iter(fields.values())), fields=fields)


class NotSignedIn(PortalError):
    """Nobody we know."""

    code = "not_signed_in"
    http_status = 401


class InsufficientFunds(PortalError):
    """The team cannot pay for what is asked."""

    code = "insufficient_funds"
    http_status = 402


class NotAllowed(PortalError):
    """Known, but without the right."""

    code = "not_allowed"
    http_status = 403


class NotFound(PortalError):
    """Not there, or not the caller's to see."""

    code = "not_found"
    http_status = 404


class Conflict(PortalError):
    """The state does not admit it now."""

    code = "conflict"
    http_status = 409


class TooLarge(PortalError):
    """It does not fit into what there is room for."""

    code = "too_large"
    http_status = 413


class TooMany(PortalError):
    """A limit of the team or the server is reached."""

    code = "too_many"
    http_status = 429


class Unavailable(PortalError):
    """A part we need does not answer; nothing was changed."""

    code = "unavailable"
    http_status = 503
