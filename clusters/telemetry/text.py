"""Bytes of a log as text, cut only between characters."""

from __future__ import annotations

_LONGEST = 4


def whole_text(data: bytes, *, is_last: bool) -> tuple[str, int]:
    """Text of `data` and how many of its bytes it stands for.

    A character cut off at the end is left for the next piece, unless there is none. What is not
    UTF-8 becomes U+FFFD.
    """
    used = len(data) if is_last else len(data) - _cut_off(data)
    return data[:used].decode("utf-8", "replace"), used


def _cut_off(data: bytes) -> int:
    """How many bytes at the end begin a character that goes on after them."""
    for back in range(1, min(_LONGEST, len(data) + 1)):
        byte = data[-back]
        if byte & 0xC0 == 0x80:
            continue
        return back if back < _length(byte) else 0
    return 0


def _length(first: int) -> int:
    """Bytes of the character that starts with `first`; 1 where none does."""
    if 0xC2 <= first <= 0xDF:
        return 2
    if 0xE0 <= first <= 0xEF:
        return 3
    return 4 if 0xF0 <= first <= 0xF4 else 1
