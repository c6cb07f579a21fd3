"""What a storm does and when, all of it from one seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random

# Seconds between two lines of a job that runs.
BEAT_SECONDS = 0.2
LONG_BEATS = 150


class Kind(StrEnum):
    """How a job behaves."""

    RUNS = "runs"
    FAILS = "fails"
    FAILS_ONCE = "fails-once"
    REQUEUES = "requeues"
    CANCELLED_SOON = "cancelled-soon"
    CANCELLED_LATE = "cancelled-late"


WEIGHTS = {
    Kind.RUNS: 12,
    Kind.FAILS: 2,
    Kind.FAILS_ONCE: 2,
    Kind.REQUEUES: 3,
    Kind.CANCELLED_SOON: 2,
    Kind.CANCELLED_LATE: 2,
}
CANCELLED = (Kind.CANCELLED_SOON, Kind.CANCELLED_LATE)


@dataclass(frozen=True, slots=True)
class Wish:
    """A launch somebody makes `at` seconds after the beginning, under a key of its own.

    It prints for `beats` beats; where it is cancelled, that is `cancel_after` seconds later.
    """

    at: float
    key: str
    pool: str
    kind: Kind
    beats: int
    cancel_after: float = 0

    @property
    def retries(self) -> int:
        """How often an error of its own is tried again."""
        return 1 if self.kind == Kind.FAILS_ONCE else 0

    @property
    def command(self) -> str:
        """Bash that says when it starts, lives and ends, each with its run, attempt and time."""
        ends = {
            Kind.FAILS: "exit 3",
            Kind.FAILS_ONCE: "[ $FASTGPU_ATTEMPT -gt 1 ] || exit 3",
            Kind.REQUEUES: "[ $FASTGPU_ATTEMPT -gt 1 ] || exit 75",
        }
        return "\n".join(
            [
                "exec 2>/dev/null",  # where bash would say that a sleep was terminated
                'say() { echo "$1 $FASTGPU_RUN_ID $FASTGPU_ATTEMPT $EPOCHREALTIME"; }',
                "trap 'say end; exit 143' TERM",
                "say start",
                f"for beat in $(seq {self.beats}); do sleep {BEAT_SECONDS}; say beat; done",
                "say end",
                ends.get(self.kind, "exit 0"),
            ]
        )


@dataclass(frozen=True, slots=True)
class Strike:
    """A SIGKILL to `target`, `at` seconds after the beginning; `choice` picks one of several."""

    at: float
    target: str
    choice: float


@dataclass(frozen=True, slots=True)
class Plan:
    """One storm."""

    seed: int
    seconds: float
    wishes: tuple[Wish, ...]
    strikes: tuple[Strike, ...]

    @classmethod
    def make(
        cls,
        seed: int,
        *,
        launches: int,
        seconds: float,
        pools: Sequence[str],
        targets: Mapping[str, int],
        gap: float,
    ) -> Plan:
        """`launches` spread over `seconds` and `pools`; a strike every `gap` seconds on average.

        `targets`: how often each is struck, relative to the others; each is struck at least once
        where there are strikes enough.
        """
        random = Random(seed)
        wishes = tuple(
            _wish(random, f"storm-{seed}-{number}", random.choice(list(pools)), at)
            for number, at in enumerate(sorted(random.uniform(0, seconds) for _ in range(launches)))
        )
        count = max(1, round(seconds / gap))
        names = [*targets, *random.choices(list(targets), list(targets.values()), k=count)]
        chosen = names[: max(count, len(targets))]
        random.shuffle(chosen)
        times = sorted(random.uniform(1, seconds) for _ in chosen)
        strikes = (
            Strike(round(at, 2), name, random.random())
            for at, name in zip(times, chosen, strict=True)
        )
        return cls(seed, seconds, wishes, tuple(strikes))


def _wish(random: Random, key: str, pool: str, at: float) -> Wish:
    kind = random.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
    beats = LONG_BEATS if kind in CANCELLED else random.randint(1, 10)
    soon = kind == Kind.CANCELLED_SOON
    cancel_after = random.uniform(0, 0.5) if soon else random.uniform(1, 4)
    return Wish(at, key, pool, kind, beats, cancel_after if kind in CANCELLED else 0)
