"""`Authorization: Bearer KEY` for the API."""

from __future__ import annotations

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from accounts.access import actor_of_secret
from accounts.actions.teams import note_use
from accounts.actor import Actor
from accounts.models import User
from portal.lib.errors import NotSignedIn


class BearerAuthentication(BaseAuthentication):
    """Sets `request.user` to the key's person and `request.auth` to the Actor."""

    def authenticate(self, request: Request) -> tuple[User, Actor] | None:
        """None without the header; raises AuthenticationFailed for a key we do not know."""
        words = get_authorization_header(request).split()
        if not words or words[0].lower() != b"bearer":
            return None
        try:
            actor = actor_of_secret(words[1].decode("ascii") if len(words) == 2 else "")
        except (NotSignedIn, UnicodeDecodeError) as error:
            raise AuthenticationFailed("This API key is unknown or has been revoked.") from error
        if actor.api_key is not None:
            note_use(actor.api_key)
        assert actor.user is not None  # noqa: S101  # a key always belongs to a person
        return actor.user, actor

    def authenticate_header(self, request: Request) -> str:
        """Makes DRF answer 401, not 403."""
        return "Bearer"


class BearerScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How the OpenAPI document names the scheme."""

    target_class = BearerAuthentication
    name = "ApiKey"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        """An HTTP bearer scheme."""
        return {"type": "http", "scheme": "bearer"}
