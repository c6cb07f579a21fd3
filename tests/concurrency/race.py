"""Many callers at the same instant, each a thread with a connection of the pool's."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from django.db import connections

# The pool has fewer connections than that: who has none waits, and holds nothing meanwhile.
MOST = 64
# Somebody who is alone goes on after that.
ALONE_SECONDS = 5.0
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


class Meeting:
    """Where callers wait for one another in pairs, so that a race that is open is lost."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._is_waited = False
        self._pairs = 0

    def meet(self) -> None:
        """Return once another is here too, or nobody has come for a while."""
        with self._changed:
            if self._is_waited:
                self._is_waited = False
                self._pairs += 1
                self._changed.notify_all()
                return
            self._is_waited, before = True, self._pairs
            if not self._changed.wait_for(lambda: self._pairs > before, ALONE_SECONDS):
                self._is_waited = False


# What the mutants put between a look and a deed.
meet = Meeting().meet


def refusals(results: list[object]) -> list[Exception]:
    """Those of the callers that were refused."""
    return [result for result in results if isinstance(result, Exception)]
