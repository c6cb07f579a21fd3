"""The countdown of a notebook, to the script that draws it, and what is chosen there."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path

from aiohttp.web import BaseRequest, Response, StreamResponse

from clusters.proxy.answers import Streamed, Whole
from clusters.proxy.pages import HEADERS
from clusters.proxy.portal import Portal, PortalAway
from clusters.proxy.routes import App, Route
from clusters.proxy.sessions import Session

STATUS, KEEP, STOP = "/.fastgpu/status", "/.fastgpu/keep", "/.fastgpu/stop"
SCRIPT_FILE = Path(__file__).resolve().parents[2] / "static" / "js" / "overlay.js"
HEARTBEAT_SECONDS = 20.0
_DONE = {KEEP: "Kept for an hour, whatever is done in it.", STOP: "It is being stopped."}
_REASONS = {
    "idle": "nothing was done in it",
    "stop_time": "it was told to stop at this time",
    "time_limit": "it has run for as long as it was launched for",
}


def script() -> Response:
    """The script that notebooks' pages carry."""
    headers = {
        "Cache-Control": "max-age=300",
        "Cross-Origin-Resource-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
    }
    return Whole(
        body=SCRIPT_FILE.read_bytes(),
        content_type="text/javascript",
        charset="utf-8",
        headers=headers,
    )


async def follow(request: BaseRequest, route: Route, address: str) -> StreamResponse:
    """Server-sent events: the countdown now and at each change, and that it was stopped.

    `address` is where its page at the portal is. Nothing of this is use of the notebook.
    """
    response = Streamed(headers={**HEADERS, "X-Accel-Buffering": "no"})
    response.content_type = "text/event-stream"
    await response.prepare(request)
    assert request.transport is not None  # noqa: S101  # it has just been written to
    with route.lasts(request.transport):
        await _tell(response, route, address)
    await response.write_eof()
    return response


async def _tell(response: StreamResponse, route: Route, address: str) -> None:
    told: App | None = None
    while not route.is_closed:
        if route.app != told:
            told = route.app
            await response.write(_event("countdown", _state(told, address)))
        try:
            async with asyncio.timeout(HEARTBEAT_SECONDS):
                await route.changed()
        except TimeoutError:
            await response.write(b": still here\n\n")
    await response.write(_event("stopped", _state(route.app, address)))


async def choose(path: str, route: Route, session: Session, portal: Portal) -> Response:
    """Keep or stop the notebook as the person whose session it is."""
    deed = path.rpartition("/")[2]
    try:
        status, refusal = await portal.choose(deed, route.app.subject, session.user_id)
    except PortalAway:
        status, refusal = 503, "FastGPU does not answer right now. Try again in a moment."
    words = _DONE[path] if status == 200 else refusal
    return Whole(
        status=status,
        text=json.dumps({"ok": status == 200, "words": words}),
        content_type="application/json",
        headers=HEADERS,
    )


def _state(app: App, address: str) -> dict[str, object]:
    return {
        "stops_at": app.stops_at.isoformat() if app.stops_at else None,
        "stops_for": app.stops_for,
        "why": _REASONS.get(app.stops_for, ""),
        "now": datetime.now(UTC).isoformat(),
        "page": address,
    }


def _event(name: str, state: dict[str, object]) -> bytes:
    return f"event: {name}\ndata: {json.dumps(state)}\n\n".encode()
