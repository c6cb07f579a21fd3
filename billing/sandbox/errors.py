"""Stripe's error object: a type, often a code and the parameter, and the HTTP status."""

from __future__ import annotations

from billing.sandbox.store import Doc

_DOCS = "https://stripe.com/docs/error-codes/"


class StripeError(Exception):
    """An answer other than 200.

    `stored` says whether an idempotency key remembers it: Stripe remembers what came of carrying a
    request out, not that a request could not be understood.
    """

    status = 400
    kind = "invalid_request_error"
    stored = False

    def __init__(self, message: str, *, code: str = "", param: str = "", extra: Doc | None = None):
        super().__init__(message)
        self.message = message
        self.code = code
        self.param = param
        self.extra = extra or {}

    def body(self) -> Doc:
        """The JSON answer."""
        error: Doc = {"message": self.message, "type": self.kind, **self.extra}
        if self.code:
            error |= {"code": self.code, "doc_url": _DOCS + self.code.replace("_", "-")}
        if self.param:
            error["param"] = self.param
        return {"error": error}


class InvalidRequest(StripeError):
    """400: a parameter is missing, unknown or wrong."""


class ResourceMissing(StripeError):
    """404: no object of that kind with that id (400 when it was named by a parameter)."""

    status = 404

    def __init__(self, noun: str, object_id: str, *, param: str = "id", status: int = 404) -> None:
        super().__init__(f"No such {noun}: '{object_id}'", code="resource_missing", param=param)
        self.status = status


class UnknownRoute(StripeError):
    """404: no such URL or method."""

    status = 404

    def __init__(self, method: str, path: str) -> None:
        super().__init__(
            f"Unrecognized request URL ({method}: {path}). The sandbox does not know it."
        )


class BadKey(StripeError):
    """401: the API key is missing or not ours."""

    status = 401


class CardRefused(StripeError):
    """402: the card's bank said no, or the card's details are wrong."""

    status = 402
    kind = "card_error"
    stored = True

    def __init__(
        self,
        message: str,
        *,
        code: str,
        decline_code: str = "",
        param: str = "",
        extra: Doc | None = None,
    ) -> None:
        said = {"decline_code": decline_code} if decline_code else {}
        super().__init__(message, code=code, param=param, extra=said | (extra or {}))
        self.decline_code = decline_code


class KeyReused(StripeError):
    """400: an idempotency key came back with another request."""

    kind = "idempotency_error"


class KeyInFlight(StripeError):
    """409: the first request with this idempotency key has not been answered yet."""

    status = 409
    kind = "idempotency_error"


class Broken(StripeError):
    """500: a fault of the sandbox itself; the log has the trace and nothing was changed."""

    status = 500
    kind = "api_error"
