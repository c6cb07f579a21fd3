"""From a ticket of the portal to a cookie of the app."""

from __future__ import annotations

import re
import secrets
from urllib.parse import parse_qs, quote, urlencode

from aiohttp.web import BaseRequest, Response

from clusters.proxy.answers import Whole
from clusters.proxy.credentials import cookie_name
from clusters.proxy.database import TAKE_TICKET, Database
from clusters.proxy.pages import HEADERS, Notice
from clusters.proxy.pages import answer as say
from clusters.proxy.sessions import digest_of
from clusters.proxy.settings import Settings

PATH = "/.fastgpu/enter"
# A browser that was sent back for another ticket once carries this for a minute.
AGAIN, AGAIN_SECONDS = "fastgpu-again", 60
_NEXT = re.compile(r"/(?!/)[^\\\x00-\x20\x7f]{0,2000}")
_PREFIX = "/.fastgpu/"


class Entrance:
    """Takes tickets, sends to the portal for them."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._cookie = cookie_name(is_https=settings.is_https)

    async def enter(self, request: BaseRequest, name: str, *, is_signed_in: bool) -> Response:
        """Take the ticket in the address. Raises DatabaseAway.

        A ticket that is not good, or no longer, is exchanged at the portal, once. After a good one
        the browser comes here again without, to show that it has kept the cookie.
        """
        query = parse_qs(request.raw_path.partition("?")[2], errors="replace")
        path = _path_to(query.get("next", [""])[0])
        ticket = query.get("ticket", [""])[0]
        if not ticket:
            return _go(path) if is_signed_in else say(self._no_cookies(name), as_page=True)
        secret = f"fgc_{secrets.token_urlsafe(32)}"
        taken = await self._database.ask(
            TAKE_TICKET,
            {
                "ticket": digest_of(ticket),
                "name": name,
                "session": digest_of(secret),
                "seconds": self._settings.session_seconds,
            },
        )
        if taken:
            answer = _go(f"{PATH}?{urlencode({'next': path})}")
            self._set(answer, self._cookie, secret, "/", self._settings.session_seconds)
            return answer
        if is_signed_in:
            # Back to where a ticket was taken, by the browser's own history.
            return _go(path)
        if AGAIN in request.cookies:
            return say(self._no_ticket(name), as_page=True)
        answer = self.to_portal(name, path)
        self._set(answer, AGAIN, "1", PATH, AGAIN_SECONDS)
        return answer

    def to_portal(self, name: str, path: str) -> Response:
        """To the portal, which sends who may open the app back with a ticket."""
        return _go(self.address(name, path))

    def address(self, name: str, path: str = "") -> str:
        """Where the portal lets people into an app, or says why it cannot."""
        query = f"?{urlencode({'next': path})}" if _NEXT.fullmatch(path) else ""
        return f"{self._settings.site_url}/open/{name}/{query}"

    def _set(self, answer: Response, name: str, value: str, path: str, seconds: int) -> None:
        answer.set_cookie(
            name,
            value,
            max_age=seconds,
            path=path,
            secure=self._settings.is_https,
            httponly=True,
            samesite="Lax",
        )

    def _no_cookies(self, name: str) -> Notice:
        return Notice(
            403,
            "no_cookie",
            "Your browser did not keep the sign-in",
            "What runs here is opened with a cookie of its own address. Allow cookies for this "
            f"address, then open it from {self._settings.site_name} again.",
            (self.address(name), "Open it again"),
        )

    def _no_ticket(self, name: str) -> Notice:
        return Notice(
            403,
            "no_ticket",
            "This link is used up",
            f"Links into what runs here work once and for some seconds. {self._settings.site_name} "
            "gave another, which did not work either: its clock and its database may disagree.",
            (self.address(name), "Try again"),
        )


def _path_to(said: str) -> str:
    """A path of the app, and none of ours, which would lead here again."""
    if not _NEXT.fullmatch(said) or said.startswith(_PREFIX):
        return "/"
    return quote(said, safe="/%?#[]@!$&'()*+,;=:~")


def _go(address: str) -> Response:
    return Whole(status=303, headers={**HEADERS, "Location": address})
