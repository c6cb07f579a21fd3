"""Where the countdown's script goes into a page, in whatever pieces the page comes."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import StreamReader
from aiohttp.base_protocol import BaseProtocol

from clusters.proxy.overlay import TAG, WINDOW_BYTES, read_start

END = b"</head>"


class _InPieces(StreamReader):
    """A page of which so many bytes are there at each look."""

    def __init__(self, page: bytes, piece_bytes: int) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(BaseProtocol(loop), limit=1 << 16, loop=loop)
        self._rest = page
        self._piece_bytes = piece_bytes

    async def readany(self) -> bytes:
        piece, self._rest = self._rest[: self._piece_bytes], self._rest[self._piece_bytes :]
        return piece


@pytest.mark.parametrize("piece_bytes", [1, 3, 1000, WINDOW_BYTES, 1_000_000])
async def test_the_script_goes_before_an_end_of_the_head_in_the_window(piece_bytes: int) -> None:
    page = b"x" * (WINDOW_BYTES - len(END)) + END + b"y" * 100
    start, is_in = await read_start(_InPieces(page, piece_bytes))
    assert is_in
    assert TAG in start
    assert page.replace(END, TAG + END).startswith(start)


@pytest.mark.parametrize("piece_bytes", [1, 3, 1000, WINDOW_BYTES, 1_000_000])
async def test_a_head_that_ends_after_the_window_stays_as_it_is(piece_bytes: int) -> None:
    page = b"x" * (WINDOW_BYTES - 3) + END + b"y" * 100
    start, is_in = await read_start(_InPieces(page, piece_bytes))
    assert not is_in
    assert page.startswith(start)
