"""Launches by the hundred on a whole stack while its processes are killed."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpx
import psycopg

from tests.chaos.plan import Plan, Wish
from tests.chaos.victims import Parts, Strike
from tests.stacks.portal import Stack

CALLERS = 8
PATIENCE_SECONDS = 60.0
FINAL = "'succeeded', 'failed', 'cancelled'"


@dataclass
class Report:
    """What happened: job ids by key, what was struck, how often requests had to be repeated."""

    jobs: dict[str, str] = field(default_factory=dict)
    struck: Counter[str] = field(default_factory=Counter)
    repeats: Counter[str] = field(default_factory=Counter)
    seconds: float = 0
    settled_after: float = 0
    breakers_closed: int = 0


class Storm:
    """One storm over one stack."""

    def __init__(
        self,
        stack: Stack,
        parts: Parts,
        plan: Plan,
        *,
        more: Mapping[str, Strike] | None = None,
        after: Callable[[], None] = lambda: None,
        tend: Callable[[], None] = lambda: None,
        say: Callable[[str], None] = print,
    ) -> None:
        """`more`: what can be struck besides the stack's own parts.

        `after` is called after the last strike, `tend` every second: what staff do meanwhile.
        """
        self._tend = tend
        self._stack = stack
        self._parts = parts
        self._plan = plan
        self._strikes = {**parts.strikes(), **(more or {})}
        self._after = after
        self._say = say
        self._is_over = threading.Event()
        self._key = stack.demo["owner_api_key"]
        self._began = 0.0
        self.report = Report()

    def run(self) -> Report:
        """All launches and all strikes; then wait until every job has ended."""
        self._began = time.monotonic()
        with ThreadPoolExecutor(CALLERS + 2) as pool:
            staff = pool.submit(self._operate)
            killer = pool.submit(self._strike_all)
            waiting = [pool.submit(self._fulfil, wish) for wish in self._plan.wishes]
            try:
                for done in [*waiting, killer]:
                    done.result()
                self.report.seconds = time.monotonic() - self._began
                self._after()
                self._settle()
            finally:
                self._is_over.set()
            staff.result()
        self.report.settled_after = time.monotonic() - self._began
        return self.report

    def _until(self, at: float) -> None:
        time.sleep(max(0.0, self._began + at - time.monotonic()))

    def _strike_all(self) -> None:
        joins, leaves = self._plan.seconds * 0.25, self._plan.seconds * 0.85
        deeds: list[tuple[float, str, Callable[[], str | None]]] = [
            (joins, "a second worker and beat join", self._parts.join),
            (leaves, "they leave", self._parts.leave),
        ]
        deeds += [
            (strike.at, strike.target, self._striker(strike.target, strike.choice))
            for strike in self._plan.strikes
        ]
        try:
            for at, name, deed in sorted(deeds, key=lambda one: one[0]):
                self._until(at)
                self._say(f"{time.monotonic() - self._began:7.2f} s  {name}: {deed() or 'done'}")
        finally:
            self._parts.leave()

    def _striker(self, target: str, choice: float) -> Callable[[], str]:
        def deed() -> str:
            words = self._strikes[target](choice)
            if "killed" in words:
                self.report.struck[target] += 1
            return words

        return deed

    def _fulfil(self, wish: Wish) -> None:
        self._until(wish.at)
        body = {
            "name": wish.key, "pool": wish.pool, "gpus": 1, "environment": "system",
            "command": wish.command, "retries": wish.retries, "time_limit_seconds": 120,
        }  # fmt: skip
        job = self._post("/jobs", wish.key, body, accepted=(201,))
        self.report.jobs[wish.key] = job["id"]
        if wish.cancel_after:
            time.sleep(wish.cancel_after)
            path = f"/jobs/{job['id']}/cancel"
            # 409: it has ended already.
            self._post(path, f"{wish.key}-cancel", {}, accepted=(200, 409))

    def _post(
        self, path: str, key: str, body: dict[str, Any], *, accepted: Iterable[int]
    ) -> dict[str, Any]:
        """Ask until there is an answer, as a client would that lost the one before."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        headers = {"Authorization": f"Bearer {self._key}", "Idempotency-Key": key}
        url = f"http://127.0.0.1:{self._stack.port}/api/v1{path}"
        while True:
            try:
                answer = httpx.post(url, json=body, headers=headers, timeout=10)
            except httpx.TransportError as error:
                what = type(error).__name__
            else:
                if answer.status_code in accepted:
                    found: dict[str, Any] = answer.json()
                    return found
                what = str(answer.status_code)
                if answer.status_code < 500:
                    raise AssertionError(f"{path} with {key}: {what} {answer.text[:500]}")
            self.report.repeats[what] += 1
            if time.monotonic() > deadline:
                raise AssertionError(f"{path} with {key}: {what} for {PATIENCE_SECONDS} s")
            time.sleep(0.2)

    def _operate(self) -> None:
        """Until all is over do what staff do: close a breaker that the kills have opened."""
        close = (
            "UPDATE clusters_pool SET breaker_opened_at = NULL, breaker_closed_at = now()"
            " WHERE breaker_opened_at IS NOT NULL"
        )
        while not self._is_over.wait(1):
            self._tend()
            self.report.breakers_closed += len(self._ask(f"{close} RETURNING id") or [])

    def _settle(self) -> None:
        """Until all is final."""
        deadline = time.monotonic() + 120 + self._plan.seconds
        left = f"SELECT name, status, reason FROM clusters_workload WHERE status NOT IN ({FINAL})"
        while (rows := self._ask(left)) != []:
            if time.monotonic() > deadline:
                raise AssertionError(f"these have not ended: {rows and rows[:5]}")
            time.sleep(0.5)

    def _ask(self, question: str) -> list[Any] | None:
        """Rows; None while the database is away."""
        try:
            with psycopg.connect(self._parts.environment["DATABASE_URL"]) as connection:
                return connection.execute(question.encode()).fetchall()
        except psycopg.OperationalError:
            return None
