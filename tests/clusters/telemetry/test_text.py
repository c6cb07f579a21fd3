"""Bytes of a log as text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusters.telemetry.text import whole_text


@given(st.text(), st.integers(1, 8))
def test_text_cut_into_pieces_comes_out_whole(text: str, size: int) -> None:
    data = text.encode("utf-8", "replace")
    pieces, at, end = "", 0, 0
    while at < len(data):
        end = min(len(data), max(end, at) + size)
        piece, used = whole_text(data[at:end], is_last=end == len(data))
        pieces += piece
        at += used
    assert pieces == data.decode()


@given(st.binary(max_size=64))
def test_any_bytes_come_out(data: bytes) -> None:
    text, used = whole_text(data, is_last=True)
    assert used == len(data)
    assert text == data.decode("utf-8", "replace")


@pytest.mark.parametrize(
    ("data", "used"),
    [(b"", 0), (b"a\xe2\x82", 1), (b"\xf0\x9f\x98", 0), (b"a\x80", 2), (b"\xff", 1)],
)
def test_only_a_character_that_goes_on_is_left(data: bytes, used: int) -> None:
    assert whole_text(data, is_last=False)[1] == used
