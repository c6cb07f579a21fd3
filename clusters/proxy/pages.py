"""What the proxy says for itself: small pages for people, JSON for programs."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from html import escape

from aiohttp.web import Response

from clusters.proxy.answers import Whole

_STYLE = """
:root { color-scheme: light dark }
body { margin: 0; padding: 15vh 24px 24px; background: light-dark(#fafaf9, #101214);
  color: light-dark(#1b1d1f, #e9ebec);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", Arial, sans-serif }
main { max-width: 480px; margin: auto }
h1 { font-size: 24px; line-height: 1.25; margin: 0 0 8px }
p { margin: 0 0 16px; color: light-dark(#5c6166, #a0a7ae) }
a { color: light-dark(#2f4fbd, #9db2ff) }
"""
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing to say: what happened, why, what to do.

    `code` is for programs; `link` an address and its words; `reload_seconds` 0: it stays.
    """

    status: int
    code: str
    title: str
    text: str
    link: tuple[str, str] | None = None
    reload_seconds: int = 0


def answer(notice: Notice, *, as_page: bool) -> Response:
    """`notice` as a page, or in the shape of the portal's API."""
    headers = dict(HEADERS)
    if notice.reload_seconds:
        headers["Retry-After"] = str(notice.reload_seconds)
    if as_page:
        body, kind = _page(notice), "text/html"
    else:
        message = f"{notice.title}. {notice.text}"
        error = {"code": notice.code, "message": message, "fields": {}}
        body, kind = json.dumps({"error": error, "message": message}), "application/json"
    return Whole(
        status=notice.status, text=body, content_type=kind, charset="utf-8", headers=headers
    )


def _page(notice: Notice) -> str:
    reload = f'<meta http-equiv="refresh" content="{notice.reload_seconds}">\n'
    link = '<p><a href="{}">{}</a></p>\n'.format(*map(escape, notice.link)) if notice.link else ""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
{reload if notice.reload_seconds else ""}<title>{escape(notice.title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
<h1>{escape(notice.title)}</h1>
<p>{escape(notice.text)}</p>
{link}</main>
</body>
</html>
"""
