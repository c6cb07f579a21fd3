"""Request ids, no requests from other origins, error pages of ours, the console's wider policy."""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.core.exceptions import BadRequest, PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.template.loader import render_to_string

from portal.lib.errors import PortalError
from portal.lib.rest import error_body

logger = logging.getLogger(__name__)
GetResponse = Callable[[HttpRequest], HttpResponse]
_REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{8,64}")


class RequestIdMiddleware:
    """Gives each request an id people can quote: `request.request_id` and `X-Request-Id`."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Take the caller's id when it is one, else make one."""
        given = request.headers.get("X-Request-Id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        request.request_id = request_id  # type: ignore[attr-defined]
        response = self.get_response(request)
        response.headers["X-Request-Id"] = request_id
        return response


# Pages with a form that ends on a page of Stripe's, or at the card's bank by way of it.
_LEAVE_FOR_STRIPE = ("/billing/top-up/", "/billing/cards/", "/billing/payments/")
_STRIPE = ["https://checkout.stripe.com", "https://hooks.stripe.com"]


class AdminPolicyMiddleware:
    """The staff console's scripts evaluate expressions; only /admin may."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Widen the policy below /admin, and let forms of money leave for Stripe."""
        response = self.get_response(request)
        if request.path.startswith("/admin/"):
            response._csp_update = {  # type: ignore[attr-defined]
                "script-src": ["'unsafe-eval'"],
                "style-src": ["'unsafe-inline'"],
            }
        elif request.path.startswith(_LEAVE_FOR_STRIPE):
            response._csp_update = {  # type: ignore[attr-defined]
                "form-action": [settings.STRIPE_API_BASE] if settings.STRIPE_API_BASE else _STRIPE
            }
        return response


class OtherOriginsMiddleware:
    """Refuses what another origin's page asks of the portal, but for following a link to it.

    What a workload serves is hostile, and its origin counts as the portal's own site: cookies that
    are `SameSite` come along with whatever its pages send. Browsers say where a request comes from
    in headers no page can set; programs send none.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """403 before anything is looked at."""
        site = request.headers.get("Sec-Fetch-Site", "")
        if site in _OTHER_SITES and not _is_followed_link(request):
            return answer(
                request,
                403,
                "other_origin",
                "A page of another site asked for this. Open it from FastGPU itself.",
            )
        return self.get_response(request)


_OTHER_SITES = frozenset({"same-site", "cross-site"})


def _is_followed_link(request: HttpRequest) -> bool:
    """Whether a person's own tab goes there: neither a frame nor a script nor a form."""
    return (
        request.method in {"GET", "HEAD"}
        and request.headers.get("Sec-Fetch-Mode") == "navigate"
        and request.headers.get("Sec-Fetch-Dest") == "document"
    )


class ErrorPageMiddleware:
    """Answers our errors, and anything unforeseen, in the shape the caller reads."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """A path that no page can have is answered here."""
        if "\0" in request.path:
            return answer(request, 404, "not_found", "No page lives at this address.")
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """PortalError from a page becomes its error page."""
        if isinstance(error, PortalError):
            return answer(request, error.http_status, error.code, error.message, error.fields)
        return None


def answer(
    request: HttpRequest,
    status: int,
    code: str,
    message: str,
    fields: dict[str, str] | None = None,
) -> HttpResponse:
    """An error as JSON below /api/ and to scripts of our pages, else as a page."""
    if request.path.startswith("/api/") or request.headers.get("Accept") == "application/json":
        return JsonResponse(error_body(code, message, fields), status=status)
    known = {400, 403, 404, 500, 503}
    template = f"errors/{status if status in known else 400}.html"
    context = {"message": message, "request_id": getattr(request, "request_id", "")}
    if status >= 500:
        # What broke may be what the frame of the page is made from.
        return HttpResponse(render_to_string(template, context), status=status)
    return render(request, template, context, status=status)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Handler of 400."""
    text = str(exception) if isinstance(exception, BadRequest) else ""
    return answer(request, 400, "malformed", text or "The request could not be understood.")


def forbidden(request: HttpRequest, exception: PermissionDenied) -> HttpResponse:
    """Handler of 403."""
    return answer(request, 403, "not_allowed", str(exception) or "This is not yours to do.")


def not_found(request: HttpRequest, exception: Http404) -> HttpResponse:
    """Handler of 404."""
    return answer(request, 404, "not_found", "No page lives at this address.")


def server_error(request: HttpRequest, *_args: Any) -> HttpResponse:
    """Handler of 500: no database, no context processors."""
    logger.error("request %s failed", getattr(request, "request_id", ""))
    return answer(request, 500, "server_error", "Something broke on our side. We were told.")


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """A form that went stale."""
    return answer(
        request, 403, "csrf", "The form has expired. Go back, reload the page and try again."
    )
