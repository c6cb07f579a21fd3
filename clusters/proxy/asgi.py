"""The workload proxy: `<name>.apps.<host>`, in a process of its own and without Django.

It is apart from the portal so that what people have open keeps its connections while the
portal restarts. Not there yet: forwarding, and whatever fills the route table. No kind of
workload serves HTTP so far, so the table stays empty and every name is unknown.
"""

from __future__ import annotations

import re

from starlette.requests import HTTPConnection
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from clusters.proxy.routes import Routes

WORKLOAD_HOST = re.compile(r"(?P<name>[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)\.apps\..+")
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
UNKNOWN_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>No such workload</title>
</head>
<body>
<main>
<h1>No workload by this name is running</h1>
<p>It may have ended, or the address has a slip in it. The portal lists what runs now.</p>
</main>
</body>
</html>
"""


def make_application(routes: Routes) -> ASGIApp:
    """The proxy over `routes`."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["type"] == "websocket":
            # Closed before it is accepted: the server answers the handshake with 403.
            await send({"type": "websocket.close", "code": 1008})
        else:
            await _answer(HTTPConnection(scope), routes)(scope, receive, send)

    return application


def _answer(request: HTTPConnection, routes: Routes) -> Response:
    host = re.sub(r":\d+$", "", request.headers.get("host", "").lower())
    found = WORKLOAD_HOST.fullmatch(host)
    if found is not None:
        return _answer_for(found["name"], routes)
    # Only off the workloads' own hosts, whose every path is theirs.
    if request.scope["path"] == "/healthz":
        if request.scope["method"] not in {"GET", "HEAD"}:
            return PlainTextResponse("Use GET.\n", 405, HEADERS | {"Allow": "GET, HEAD"})
        return JSONResponse({"routes": len(routes)}, headers=HEADERS)
    return PlainTextResponse("There is nothing here.\n", 404, HEADERS)


def _answer_for(name: str, routes: Routes) -> Response:
    if routes.get(name) is None:
        return HTMLResponse(UNKNOWN_PAGE, 404, HEADERS)
    return PlainTextResponse("This proxy does not forward yet.\n", 501, HEADERS)


async def _live(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


application = make_application(Routes())
