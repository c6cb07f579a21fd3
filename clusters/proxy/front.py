"""What becomes of each request: whose it is, who asks, and whether they may."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass

from aiohttp.web import BaseRequest, Response, StreamResponse
from multidict import CIMultiDict

from clusters.proxy import countdown, entering, origins, overlay, terminal
from clusters.proxy import headers as crossing
from clusters.proxy.credentials import CookiesTooLarge, Credentials, cookie_name, take
from clusters.proxy.database import Database, DatabaseAway
from clusters.proxy.entering import Entrance
from clusters.proxy.forward import Forwarder, wants_websocket
from clusters.proxy.hosts import Hosts, host_of
from clusters.proxy.operations import Operations
from clusters.proxy.pages import Notice
from clusters.proxy.pages import answer as say
from clusters.proxy.portal import Portal
from clusters.proxy.routes import Route, Routes
from clusters.proxy.sessions import Session, Sessions
from clusters.proxy.settings import Settings

OURS = "/.fastgpu"


@dataclass(frozen=True, slots=True)
class Asked:
    """A request to an app: as it goes on, and what it brought for us."""

    request: BaseRequest
    name: str
    headers: CIMultiDict[str]
    target: str
    credentials: Credentials
    is_page: bool

    @property
    def path(self) -> str:
        """Without its query."""
        return self.target.partition("?")[0]

    def say(self, notice: Notice) -> Response:
        """Answer for the proxy itself."""
        return say(notice, as_page=self.is_page)


class Front:
    """The handler of all requests."""

    def __init__(
        self,
        settings: Settings,
        routes: Routes,
        sessions: Sessions,
        database: Database,
        forwarder: Forwarder,
        portal: Portal,
        operations: Operations,
    ) -> None:
        self._settings = settings
        self._routes = routes
        self._sessions = sessions
        self._forwarder = forwarder
        self._portal = portal
        self._operations = operations
        self._hosts = Hosts(settings.apps_url)
        self._entrance = Entrance(settings, database)
        self._cookie = cookie_name(is_https=settings.is_https)
        self._scheme = settings.apps_url.partition(":")[0]

    async def handle(self, request: BaseRequest) -> StreamResponse:
        """Answer `request`."""
        host = host_of(request.headers, request.raw_path)
        if host is None:
            return say(_UNCLEAR, as_page=False)
        name = self._hosts.name_of(host)
        if name is None:
            return await self._operations.answer(request)
        headers = crossing.to_upstream(request.headers, scheme=self._scheme)
        try:
            credentials, target = take(headers, request.raw_path, self._cookie)
        except CookiesTooLarge:
            return too_many_cookies()
        is_page = origins.is_navigation(request.method, request.headers)
        return await self._answer(Asked(request, name, headers, target, credentials, is_page))

    async def _answer(self, asked: Asked) -> StreamResponse:
        route = self._routes.get(asked.name)
        if route is None:
            return asked.say(self._unknown(asked.name) if self._routes.is_known else _WAKING)
        if file := _file_of_ours(asked.path, route):
            return file
        try:
            session = await self._session(asked)
            if asked.path == entering.PATH and asked.request.method == "GET":
                is_in = session is not None
                return await self._entrance.enter(asked.request, asked.name, is_signed_in=is_in)
        except DatabaseAway:
            return asked.say(_DATABASE_AWAY)
        if session is None:
            return self._refuse(asked)
        return await self._serve(asked, route, session)

    async def _session(self, asked: Asked) -> Session | None:
        secrets = asked.credentials.secrets
        return await self._sessions.find(asked.name, secrets) if secrets else None

    def _may_ask(self, asked: Asked) -> bool:
        # A token is not sent along by a browser that some page made ask.
        return bool(asked.credentials.token) or origins.may_ask(
            asked.request.method,
            asked.request.headers,
            origin=self._hosts.origin_of(asked.name),
            is_socket=wants_websocket(asked.request),
        )

    def _refuse(self, asked: Asked) -> Response:
        """Nobody has signed in here, or no longer."""
        if asked.is_page and not asked.credentials.token:
            return self._entrance.to_portal(asked.name, asked.target)
        return asked.say(_NOT_YOURS if asked.credentials.secrets else _NOT_SIGNED_IN)

    async def _serve(self, asked: Asked, route: Route, session: Session) -> StreamResponse:
        if not self._may_ask(asked):
            return asked.say(_OTHER_ORIGIN)
        client = asked.request.transport
        if client is None:
            raise ConnectionResetError("the client has gone")
        with ExitStack() as held:
            held.enter_context(session.used_by(client))
            if asked.path == OURS or asked.path.startswith(f"{OURS}/"):
                return await self._serve_ours(asked, route, session)
            if route.app.service == terminal.SERVICE and not _is_its_socket(asked):
                is_page = asked.path == terminal.PATH and asked.request.method == "GET"
                return terminal.page(route.app) if is_page else asked.say(_NOTHING)
            if not route.is_open:
                return asked.say(_STARTING)
            if len(route.clients) >= self._settings.app_connections:
                return asked.say(_TOO_MANY)
            held.enter_context(route.used_by(client))
            return await self._forwarder.forward(
                asked.request, route, asked.headers, asked.target, is_page=asked.is_page
            )

    async def _serve_ours(self, asked: Asked, route: Route, session: Session) -> StreamResponse:
        method, path = asked.request.method, asked.path
        if method == "GET" and path == countdown.STATUS:
            address = self._entrance.address(asked.name)
            return await countdown.follow(asked.request, route, address)
        if method == "POST" and path in {countdown.KEEP, countdown.STOP, terminal.WAKE}:
            origin = self._hosts.origin_of(asked.name)
            if not origins.is_own_page(asked.request.headers, origin=origin):
                return asked.say(_OTHER_ORIGIN)
            if path == terminal.WAKE:
                return await terminal.wake(route, session, self._portal)
            return await countdown.choose(path, route, session, self._portal)
        return asked.say(_NOTHING)

    def _unknown(self, name: str) -> Notice:
        return Notice(
            404,
            "not_running",
            "Nothing by this name is running",
            "It may have stopped, or the address has a slip in it.",
            (self._entrance.address(name), f"Look for it in {self._settings.site_name}"),
        )


def _file_of_ours(path: str, route: Route) -> Response | None:
    """What pages need that is no secret."""
    if path == overlay.PATH:
        return countdown.script()
    return terminal.file_at(path) if route.app.service == terminal.SERVICE else None


def _is_its_socket(asked: Asked) -> bool:
    return asked.target == terminal.SOCKET and wants_websocket(asked.request)


def too_many_cookies() -> Response:
    """Somebody's page has set more cookies than fit; without them the next try works."""
    answer = say(_COOKIES, as_page=True)
    answer.headers["Clear-Site-Data"] = '"cookies"'
    return answer


_UNCLEAR = Notice(400, "malformed", "The request is malformed", "It must name one host and a path.")
_WAKING = Notice(
    503,
    "starting",
    "One moment",
    "The proxy has just started and does not know yet what is running.",
    reload_seconds=1,
)
_DATABASE_AWAY = Notice(
    503,
    "unavailable",
    "One moment",
    "Who may open this cannot be looked up right now. This page tries again by itself.",
    reload_seconds=2,
)
_STARTING = Notice(
    503,
    "starting",
    "Its server is starting",
    "This page opens it as soon as it answers.",
    reload_seconds=1,
)
_TOO_MANY = Notice(
    503,
    "too_many",
    "Too much is open to it at once",
    "Close some of its tabs, or wait until what runs has ended.",
    reload_seconds=10,
)
_NOT_SIGNED_IN = Notice(
    401, "not_signed_in", "Nobody is signed in here", "Open it from FastGPU, or send a token."
)
_NOT_YOURS = Notice(
    403,
    "not_allowed",
    "This sign-in is not good here, or no longer",
    "Open it from FastGPU again, or make a new token.",
)
_OTHER_ORIGIN = Notice(
    403,
    "other_origin",
    "A page of another site asked for this",
    "What runs here is reached from its own pages. Open it from FastGPU itself.",
)
_NOTHING = Notice(404, "not_found", "There is nothing here", "The address has a slip in it.")
_COOKIES = Notice(
    431,
    "cookies_too_large",
    "Too many cookies",
    "Some page has set more of them than fit. Your browser was told to forget them: load this "
    "page again, and sign in again where you are asked to.",
)
