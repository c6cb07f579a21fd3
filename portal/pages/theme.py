"""The theme, for a browser without our script; with it the cookie is set on the spot."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST

from portal.context import THEME_COOKIE, THEMES
from portal.lib.errors import InvalidInput

YEAR_SECONDS = 365 * 86_400


@require_POST
def theme(request: HttpRequest) -> HttpResponse:
    """Keep `theme` (auto, light or dark) in a cookie and go back to `next`."""
    chosen = request.POST.get("theme", "")
    if chosen not in THEMES:
        raise InvalidInput.of(theme="Choose auto, light or dark.")
    target = request.POST.get("next", "")
    if not url_has_allowed_host_and_scheme(
        target, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    ):
        target = "/"
    response = HttpResponseRedirect(target)
    # The page's script writes it too, so it cannot be HttpOnly; it holds no secret.
    response.set_cookie(
        THEME_COOKIE, chosen, max_age=YEAR_SECONDS, samesite="Lax", secure=settings.IS_HTTPS
    )
    return response
