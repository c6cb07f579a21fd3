"""HTML into PDF: the same bytes for the same words, and nothing is fetched."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any

from django.template.loader import render_to_string

from portal.lib.errors import Unavailable

# The same document gives the same bytes: fonts are stamped with this instant, 2026-01-01.
_EPOCH = "1767225600"


def print_pdf(html: str, *, identifier: str) -> bytes:
    """`html`, a whole page, as PDF/UA-1. Raises Unavailable without the text library it needs."""
    weasyprint, fetcher = _printer()
    css = weasyprint.CSS(string=render_to_string("billing/invoice_document.css"))
    page = weasyprint.HTML(string=html, url_fetcher=fetcher)
    pdf: bytes = page.write_pdf(
        stylesheets=[css], pdf_identifier=identifier.encode(), pdf_variant="pdf/ua-1"
    )
    return pdf


@lru_cache(maxsize=1)
def _printer() -> tuple[Any, Any]:
    """WeasyPrint, loaded on first use: it is large, and needs pango on the machine."""
    os.environ.setdefault("SOURCE_DATE_EPOCH", _EPOCH)
    try:
        import weasyprint
        from weasyprint.urls import URLFetcher
    except OSError as error:
        raise Unavailable(
            "This server cannot make PDFs: the library pango is missing (on Debian the package "
            "libpangoft2-1.0-0). The document can be read on its page."
        ) from error
    return weasyprint, URLFetcher(allowed_protocols={"data"})
