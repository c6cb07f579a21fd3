"""Rules of work: runs that begin, are seen, end, crash or vanish; funds held for them; prices."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from billing.actions.faults import Fault
from billing.actions.holds import release_hold, take_hold
from billing.actions.metering import Resource, Start, close_interval, open_intervals, prove
from billing.actions.prices import set_list_price
from billing.queries.prices import list_prices, price_for
from portal.lib.errors import Conflict, InsufficientFunds
from tests.billing.machine.base import CODE, SYSTEM, Base, numbers, refused
from tests.billing.machine.model import GRACE, Run

FAULT = Fault("node_lost", "A node died")
HOUR_US = 3_600_000_000


class WorkRules(Base):
    """What runs, and what it costs."""

    @rule(
        quantity=st.integers(1, 16),
        minutes=st.sampled_from([0, 0, 60, 600]),
        sees=st.booleans(),
        again=st.one_of(st.none(), numbers),
    )
    def start(self, quantity: int, minutes: int, sees: bool, again: int | None) -> None:
        """With `minutes` of it set aside, where as much is available; or an ended one once more."""
        if again is not None and self.model.ended():
            self._start_again(self.pick(self.model.ended(), again), sees=sees)
            return
        number = self.next()
        need = self.model.price_at(self.model.now) * quantity * minutes // 60
        if self._hold(number, need):
            self._begin(number, 1, quantity, sees=sees)

    @rule(which=numbers, late=st.integers(0, 300_000_000))
    @precondition(lambda self: self.model.running())
    def see(self, which: int, late: int) -> None:
        """The engine says that it runs, or that it did a moment ago."""
        run = self.pick(self.model.running(), which)
        at = self.model.now - timedelta(microseconds=late)
        for _ in range(2):
            prove("workload", [(run.number, run.attempt), (run.number, 99)], at=at)
        run.prove(at)

    @rule(
        which=numbers,
        late=st.integers(0, 3 * 24 * HOUR_US),
        is_ours=st.booleans(),
        is_proven=st.booleans(),
    )
    @precondition(lambda self: self.model.running())
    def stop(self, which: int, late: int, is_ours: bool, is_proven: bool) -> None:
        """It had ended `late` microseconds before anybody heard of it; or nobody saw it end."""
        run = self.pick(self.model.running(), which)
        at = max(run.start, self.model.now - timedelta(microseconds=late))
        self.end(run, late=late, is_ours=is_ours, is_proven=is_proven)
        if is_proven:
            self._release(run.number)
        assert run.end is not None
        assert run.end <= at

    @rule(unit_micros=st.integers(0, 9_000_000), hours=st.sampled_from([0, 0, 1, 24 * 40]))
    def change_price(self, unit_micros: int, hours: int) -> None:
        """From now on, or announced: exactly one holds at any instant (I10)."""
        self.forward(timedelta(microseconds=1))  # twice in one instant is refused
        model = self.model
        asked = model.now + timedelta(hours=hours)
        # The clock was set back: what has begun keeps its price, and the change comes after it.
        last = max((run.start for run in model.runs), default=asked)
        starts = asked if last <= asked else last + timedelta(microseconds=1)
        is_taken = starts in model.prices and model.prices[starts] != unit_micros
        if is_taken or (hours and starts != asked):
            with refused(Conflict):
                self._set_price(unit_micros, asked if hours else None)
            return
        self._set_price(unit_micros, asked if hours else None)
        model.prices[starts] = unit_micros
        for at in model.prices:
            for probe in (at - timedelta(microseconds=1), at):
                if probe >= min(model.prices):
                    assert list_prices(at=probe)[CODE] == model.price_at(probe)

    @staticmethod
    def _set_price(unit_micros: int, starts_at: datetime | None) -> None:
        set_list_price(
            SYSTEM, CODE, unit_micros=unit_micros, starts_at=starts_at, reason="the machine"
        )

    def see_all(self) -> None:
        """The engine answers: all that runs is there."""
        running = self.model.running()
        prove("workload", [(run.number, run.attempt) for run in running], at=self.model.now)
        for run in running:
            run.prove(self.model.now)

    def end(self, run: Run, *, late: int, is_ours: bool, is_proven: bool) -> None:
        """The engine tells of its end, twice."""
        at = self.model.now - timedelta(microseconds=late)
        for _ in range(2):
            close_interval(
                "workload",
                run.number,
                run.attempt,
                ended_at=at,
                is_proven=is_proven,
                fault=FAULT if is_ours else None,
            )
        run.stop(at, is_proven=is_proven, is_ours=is_ours)

    def _hold(self, number: int, micros: int) -> bool:
        """Funds are held where the model has them available, and nowhere else (I5)."""

        def ask() -> None:
            take_hold(
                self.account,
                resource_kind="workload",
                resource_id=number,
                amount_micros=micros,
            )

        if not micros:
            return True
        if micros > self.available():
            with refused(InsufficientFunds):
                ask()
            return False
        with transaction.atomic():
            ask()
            ask()
        self.model.holds[number] = micros
        return True

    def _release(self, number: int) -> None:
        for _ in range(2):
            release_hold(resource_kind="workload", resource_id=number)
        self.model.holds.pop(number, None)

    def _start_again(self, before: Run, *, sees: bool) -> None:
        attempts = [run for run in self.model.runs if run.number == before.number]
        if all(run.end for run in attempts):
            self._begin(before.number, len(attempts) + 1, before.quantity, sees=sees)

    def _begin(self, number: int, attempt: int, quantity: int, *, sees: bool) -> None:
        now = self.model.now
        before = [run.end for run in self.model.runs if run.number == number and run.end]
        begin = max([now, *before])
        start = Start(
            self.account,
            sku_code=CODE,
            price=price_for(self.account, CODE, at=now),
            resource=Resource("workload", number, attempt, f"job_{number}", "train"),
            quantity=quantity,
            started_at=now,
            proven_at=now if sees else None,
        )
        for _ in range(2):
            open_intervals([start])
        limit = begin + GRACE if sees else None
        price = self.model.price_at(now)
        self.model.runs.append(Run(number, attempt, quantity, price, begin, begin, limit))
