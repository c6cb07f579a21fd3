"""The page of a terminal, which is the proxy's own, and its files.

What answers behind a terminal's name is made by hostile code. Of that origin the proxy therefore
forwards the one WebSocket and nothing else: no page, script, worker or cookie of the workload's
is ever found there, and what the shell prints is drawn by our script.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from html import escape
from importlib.util import find_spec
from pathlib import Path

from aiohttp.web import Response

from clusters.proxy.answers import Whole
from clusters.proxy.pages import HEADERS
from clusters.proxy.portal import Portal, PortalAway
from clusters.proxy.routes import App, Route
from clusters.proxy.sessions import Session

SERVICE = "terminal"
PATH, SOCKET, WAKE = "/", "/terminals/websocket/1", "/.fastgpu/wake"
_FOLDER = "/.fastgpu/terminal"
_STATIC = Path(__file__).resolve().parents[2] / "static"
# xterm.js measures its font and then writes rules of its own into the page: style elements and
# attributes are let through, scripts from nowhere but here.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    content_type: str


@cache
def _files() -> dict[str, _File]:
    """What the page is made of; xterm.js comes out of the NiceGUI package, never imported."""
    spec = find_spec("nicegui")
    folders = list(spec.submodule_search_locations or []) if spec else []
    if not folders:
        raise FileNotFoundError("xterm.js is missing: the package nicegui is not installed")
    xterm = Path(folders[0]) / "elements" / "xterm" / "dist"
    script, style = "text/javascript", "text/css"
    return {
        f"{_FOLDER}/terminal.js": _File(_STATIC / "js" / "terminal.js", script),
        f"{_FOLDER}/terminal.css": _File(_STATIC / "css" / "terminal.css", style),
        f"{_FOLDER}/tokens.css": _File(_STATIC / "css" / "tokens.css", style),
        f"{_FOLDER}/xterm.js": _File(xterm / "index.js", script),
        f"{_FOLDER}/xterm.css": _File(xterm / "xterm.css", style),
    }


def file_at(path: str) -> Response | None:
    """One of the page's files, which are no secret; None for any other path."""
    if not path.startswith(f"{_FOLDER}/") or (found := _files().get(path)) is None:
        return None
    headers = {
        "Cache-Control": "max-age=300",
        "Cross-Origin-Resource-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
    }
    return Whole(
        body=found.path.read_bytes(),
        content_type=found.content_type,
        charset="utf-8",
        headers=headers,
    )


def page(app: App) -> Response:
    """The page itself."""
    return Whole(
        text=_PAGE.replace("SUBJECT", escape(app.title or app.subject)),
        content_type="text/html",
        charset="utf-8",
        headers=HEADERS | {"Content-Security-Policy": _POLICY},
    )


async def wake(route: Route, session: Session, portal: Portal) -> Response:
    """Have the terminal's server started again, as the person whose session it is."""
    try:
        status, refusal = await portal.wake(route.app.subject, session.user_id)
    except PortalAway:
        status, refusal = 503, "FastGPU does not answer right now."
    return Whole(
        status=status,
        text=json.dumps({"ok": status == 200, "words": refusal}),
        content_type="application/json",
        headers=HEADERS,
    )


# What keyboards of phones lack, as terminals send it; shown where fingers are all there is.
_SENT = {
    "Esc": "&#27;",
    "Tab": "&#9;",
    "←": "&#27;[D",
    "↑": "&#27;[A",
    "↓": "&#27;[B",
    "→": "&#27;[C",
}
_NAMES = {"←": "Left", "↑": "Up", "↓": "Down", "→": "Right"}
_KEYS = "\n".join(
    f'<button type="button" data-sends="{sent}" aria-label="{_NAMES.get(key, key)}">{key}</button>'
    for key, sent in _SENT.items()
)
# Else the keyboard of a phone covers the line that is typed.
_KEYBOARD = "interactive-widget=resizes-content"
_PAGE = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1, {_KEYBOARD}">
<meta name="color-scheme" content="light dark">
<title>SUBJECT · Terminal</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="{_FOLDER}/xterm.css">
<link rel="stylesheet" href="{_FOLDER}/tokens.css">
<link rel="stylesheet" href="{_FOLDER}/terminal.css">
<script type="module" src="{_FOLDER}/terminal.js"></script>
</head>
<body>
<h1 class="unseen">Terminal in SUBJECT</h1>
<div class="bar" id="bar" hidden>
<p id="said" role="status"></p>
<button type="button" id="act" hidden></button>
<a id="way" hidden></a>
</div>
<main id="terminal"></main>
<div class="keys" id="keys" role="toolbar" aria-label="Keys that a phone lacks">
<button type="button" id="control" aria-pressed="false">Ctrl</button>
{_KEYS}
</div>
<noscript><p class="bar">A terminal needs JavaScript.</p></noscript>
</body>
</html>
"""
