"""Callers that are parts of FastGPU itself, each with one token of this installation."""

from __future__ import annotations

import secrets
from typing import ClassVar

from django.conf import settings
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request


class Machine:
    """Who calls when a part's token came with the request: no person and no team."""

    is_authenticated = True


class MachineAuthentication(BaseAuthentication):
    """`Authorization: Bearer TOKEN`; `setting` names the token, `words` say whose it is."""

    setting: ClassVar[str]
    words: ClassVar[str]

    def authenticate(self, request: Request) -> tuple[Machine, None]:
        """Raises AuthenticationFailed for any other token, and for all while none is set."""
        words = get_authorization_header(request).split()
        given = words[1] if len(words) == 2 and words[0].lower() == b"bearer" else b""
        expected = str(getattr(settings, self.setting)).encode()
        if not expected or not secrets.compare_digest(given, expected):
            raise AuthenticationFailed(self.words)
        return Machine(), None

    def authenticate_header(self, request: Request) -> str:
        """Makes DRF answer 401, not 403."""
        return "Bearer"


class AgentAuthentication(MachineAuthentication):
    """The node agents."""

    setting = "AGENT_TOKEN"
    words = "This is not the token of this portal's agents."


class ProxyAuthentication(MachineAuthentication):
    """The workload proxy."""

    setting = "PROXY_TOKEN"
    words = "This is not the token of this portal's proxy."
