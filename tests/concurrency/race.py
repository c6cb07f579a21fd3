"""Many callers at the same instant, each a thread with a connection of the pool's."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from django.db import connections

# The pool has fewer connections than that: who has none waits, and holds nothing meanwhile.
MOST = 64
T = TypeVar("T")


def at_once(callers: int, deed: Callable[[int], T]) -> list[T | Exception]:
    """What `deed` returned or raised for each caller, who all begin together."""
    assert callers <= MOST
    start = threading.Barrier(callers)
    results: list[T | Exception] = []

    def call(number: int) -> None:
        try:
            start.wait(timeout=60)
            results.append(deed(number))
        except Exception as error:  # told to the test, whatever it is
            results.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=call, args=(number,)) for number in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def refusals(results: list[object]) -> list[Exception]:
    """Those of the callers that were refused."""
    return [result for result in results if isinstance(result, Exception)]
