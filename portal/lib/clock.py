"""The one source of time. Tests and simulations put another clock in with `use`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime

_reader: ContextVar[Callable[[], datetime] | None] = ContextVar("clock_reader", default=None)


def now() -> datetime:
    """The present instant, aware, in UTC."""
    reader = _reader.get()
    return reader() if reader else datetime.now(UTC)


@contextmanager
def use(reader: Callable[[], datetime]) -> Iterator[None]:
    """Read time from `reader` inside the block, in this context only."""
    token = _reader.set(reader)
    try:
        yield
    finally:
        _reader.reset(token)
