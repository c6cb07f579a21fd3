"""HTML into PDF: the same bytes for the same words, and nothing is fetched."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from typing import Any

from django.template.loader import render_to_string

from portal.lib.errors import Unavailable

# The same document gives the same bytes: fonts are stamped with this instant, 2026-01-01.
_EPOCH = "1767225600"
# Threads share the fonts, and pango does not promise that they may; Python would take turns anyway.
_ONE_AT_A_TIME = Lock()


def print_pdf(html: str, *, identifier: str) -> bytes:
    """`html`, a whole page, as PDF/UA-1. Raises Unavailable without the text library it needs."""
    printer = _printer()
    page = printer.weasyprint.HTML(string=html, url_fetcher=printer.fetcher)
    with _ONE_AT_A_TIME, _garbage_left():
        pdf: bytes = page.write_pdf(
            stylesheets=[printer.css],
            font_config=printer.fonts,
            pdf_identifier=identifier.encode(),
            pdf_variant="pdf/ua-1",
        )
    return pdf


@contextmanager
def _garbage_left() -> Iterator[None]:
    """No collection meanwhile: all that is made is in use to the end, so each finds nothing.

    In a process of the portal's size they take a fifth of the time.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@dataclass(frozen=True, slots=True)
class _Printer:
    """WeasyPrint, and what each document takes the same."""

    weasyprint: Any
    fetcher: Any
    css: Any
    fonts: Any


@lru_cache(maxsize=1)
def _printer() -> _Printer:
    """Loaded on first use: WeasyPrint is large, and needs pango on the machine."""
    os.environ.setdefault("SOURCE_DATE_EPOCH", _EPOCH)
    try:
        import weasyprint
        from weasyprint.text.fonts import FontConfiguration
        from weasyprint.urls import URLFetcher
    except OSError as error:
        raise Unavailable(
            "This server cannot make PDFs: the library pango is missing (on Debian the package "
            "libpangoft2-1.0-0). The document can be read on its page."
        ) from error
    fonts = FontConfiguration()
    css = weasyprint.CSS(string=render_to_string("billing/invoice_document.css"), font_config=fonts)
    return _Printer(weasyprint, URLFetcher(allowed_protocols={"data"}), css, fonts)
