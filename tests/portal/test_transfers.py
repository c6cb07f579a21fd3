"""Bodies as they come, into a sink."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from django.http import HttpResponse

from portal.lib.errors import Conflict, TooLarge
from portal.lib.streamed import PIECE_BYTES, BodyWanted
from portal.transfers import Transfers

Receive = Callable[[], Awaitable[Any]]


class Pail:
    """A sink that keeps what it is given and refuses what a test says."""

    def __init__(self, *, most: int = 1 << 30) -> None:
        self.pieces: list[bytes] = []
        self.fate = ""
        self._most = most

    def write(self, data: bytes) -> None:
        self.pieces.append(data)
        if len(b"".join(self.pieces)) > self._most:
            raise TooLarge("It is full.")

    def finish(self) -> dict[str, Any]:
        self.fate = "whole"
        return {"size": len(b"".join(self.pieces))}

    def abandon(self) -> None:
        self.fate = "abandoned"


class Gate:
    """Where somebody who sends stops until it is opened."""

    def __init__(self) -> None:
        self.is_reached, self._is_open = asyncio.Event(), asyncio.Event()

    def open(self) -> None:
        """Let them go on."""
        self._is_open.set()

    async def passed(self) -> None:
        """Stop here."""
        self.is_reached.set()
        await self._is_open.wait()


def sends(*messages: dict[str, Any] | Gate) -> Receive:
    """What a server receives: messages, and gates between them."""
    left = list(messages)

    async def receive() -> dict[str, Any]:
        while left:
            message = left.pop(0)
            if isinstance(message, dict):
                return message
            await message.passed()
        return {"type": "http.disconnect"}

    return receive


def piece(data: bytes, *, last: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": data, "more_body": not last}


async def take(
    pail: Pail, receive: Receive, transfers: Transfers | None = None
) -> HttpResponse | None:
    wanted = BodyWanted(pail)
    wanted["X-Request-Id"] = "abc"
    return await (transfers or Transfers()).take(wanted, receive)


async def test_it_comes_in_pieces_of_a_megabyte_and_is_answered_with_the_heads_headers() -> None:
    pail = Pail()
    small = [piece(b"x" * 65_536) for _ in range(40)]
    answer = await take(pail, sends(*small, piece(b"end", last=True)))
    assert answer is not None
    assert (answer.status_code, answer.content) == (201, b'{"size": 2621443}')
    assert answer["X-Request-Id"] == "abc"
    assert answer["Content-Length"] == str(len(answer.content))
    assert [len(data) for data in pail.pieces] == [PIECE_BYTES, PIECE_BYTES, 524_291]
    assert pail.fate == "whole"


async def test_an_empty_one_is_whole() -> None:
    pail = Pail()
    answer = await take(pail, sends(piece(b"", last=True)))
    assert answer is not None
    assert answer.status_code == 201


async def test_a_refusal_is_answered_before_the_rest_has_come() -> None:
    pail = Pail(most=PIECE_BYTES)
    endless = [piece(b"x" * PIECE_BYTES) for _ in range(1000)]
    answer = await take(pail, sends(*endless))
    assert answer is not None
    assert answer.status_code == 413
    assert b"It is full." in answer.content
    assert (len(pail.pieces), pail.fate) == (2, "abandoned")


async def test_cut_off_it_is_given_up_without_an_answer() -> None:
    pail = Pail()
    assert await take(pail, sends(piece(b"half"))) is None
    assert pail.fate == "abandoned"


async def test_who_says_nothing_for_long_is_let_go() -> None:
    pail = Pail()
    transfers = Transfers(silence_seconds=0.05)
    answer = await take(pail, sends(piece(b"half"), Gate()), transfers)
    assert answer is not None
    assert answer.status_code == 408
    assert pail.fate == "abandoned"


async def test_of_too_many_at_once_the_next_is_refused() -> None:
    transfers = Transfers(most_at_once=1)
    first, second, third = Pail(), Pail(), Pail()
    gate = Gate()
    slow = asyncio.create_task(take(first, sends(gate, piece(b"x", last=True)), transfers))
    await gate.is_reached.wait()
    answer = await take(second, sends(piece(b"x", last=True)), transfers)
    assert answer is not None
    assert (answer.status_code, second.fate) == (429, "abandoned")
    gate.open()
    assert await slow is not None
    assert first.fate == "whole"
    again = await take(third, sends(piece(b"x", last=True)), transfers)
    assert again is not None
    assert again.status_code == 201


@pytest.mark.parametrize("error", [Conflict("No."), ValueError("a defect")])
async def test_a_defect_of_ours_is_no_silence(error: Exception) -> None:
    class Refusing(Pail):
        def write(self, data: bytes) -> None:
            raise error

    pail = Refusing()
    answer = await take(pail, sends(piece(b"x", last=True)))
    assert answer is not None
    assert answer.status_code == (409 if isinstance(error, Conflict) else 500)
    assert pail.fate == "abandoned"


async def test_when_the_server_stops_nothing_is_left() -> None:
    pail, gate = Pail(), Gate()
    task = asyncio.create_task(take(pail, sends(piece(b"half"), gate)))
    await gate.is_reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(30):
        while not pail.fate:  # noqa: ASYNC110  # it is given up in a thread
            await asyncio.sleep(0.01)
    assert pail.fate == "abandoned"
