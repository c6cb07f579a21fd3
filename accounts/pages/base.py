"""What every page for signed-in people starts from."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django_htmx.middleware import HtmxDetails

from accounts.access import actor_of_user
from accounts.actions.teams import ensure_team
from accounts.actor import Actor
from accounts.models import Team, User

TEAM_COOKIE = "team"
YEAR_SECONDS = 365 * 86_400


class PortalRequest(HttpRequest):
    """A request of a signed-in person; `actor` is that person in the team they are looking at."""

    actor: Actor
    user: User
    htmx: HtmxDetails
    request_id: str


Page = Callable[..., HttpResponseBase]


def fresh(response: HttpResponse) -> HttpResponse:
    """A page of what lives, or that holds a secret: no browser may keep it."""
    response["Cache-Control"] = "no-store"
    return response


def look_at(response: HttpResponse, team: Team) -> HttpResponse:
    """From now on this browser's pages are those of `team`, which is one of the person's."""
    response.set_cookie(
        TEAM_COOKIE,
        team.public_id,
        max_age=YEAR_SECONDS,
        samesite="Lax",
        httponly=True,
        secure=settings.IS_HTTPS,
    )
    return response


def signed_in(view: Page) -> Page:
    """Send others to sign in; give the view `request.actor`.

    The team is the one named by the cookie `team` where the person belongs to it, else their
    first; who belongs to none gets one.
    """

    @wraps(view)
    def wrapped(request: PortalRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        request.actor = _actor(request)
        return view(request, *args, **kwargs)

    page: Page = login_required(wrapped)
    return page


def _actor(request: PortalRequest) -> Actor:
    team_id = request.COOKIES.get(TEAM_COOKIE, "")
    memberships = request.user.memberships.values_list("team__public_id", flat=True)
    mine = list(memberships)
    if not mine:
        ensure_team(request.user)
    return actor_of_user(request.user, team_id=team_id if team_id in mine else None)
