"""What every API view starts from."""

from __future__ import annotations

from rest_framework.request import Request

from accounts.actor import Actor
from portal.lib.errors import NotSignedIn


def actor_of(request: Request) -> Actor:
    """The Actor behind the request's API key."""
    if not isinstance(request.auth, Actor):
        raise NotSignedIn("Send your API key as: Authorization: Bearer KEY")
    return request.auth
