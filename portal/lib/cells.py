"""Cells of spreadsheets that other people have filled in."""

from __future__ import annotations

import re

_NUMBER = re.compile(r"^-\d+(\.\d+)?$")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def safe_cell(text: str) -> str:
    """Text that a spreadsheet will not run: what could begin a formula gets a quote before it.

    Negative numbers stay numbers. After OWASP's page on CSV injection.
    """
    if text.startswith(_FORMULA) and not _NUMBER.match(text):
        return f"'{text}"
    return text
