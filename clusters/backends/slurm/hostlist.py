"""Slurm's short form of node names, `gpu[1-3,07],login`, written out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product

MOST = 1_000
_PART = re.compile(r"((?:[^,\[\]]|\[[^\[\]]*\])+)")
_BRACKET = re.compile(r"\[([^\[\]]*)\]")


def expand(text: str) -> list[str]:
    """The names `text` stands for, at most MOST; what cannot be read stays as it is."""
    names: list[str] = []
    for part in _PART.findall(text):
        try:
            for name in _names(part):
                if len(names) >= MOST:
                    return names
                names.append(name)
        except ValueError:
            names.append(part)
    return names


def _names(part: str) -> Iterator[str]:
    """One name, or all those of its brackets, left to right."""
    pieces = _BRACKET.split(part)
    plain, ranges = pieces[::2], [list(_numbers(words)) for words in pieces[1::2]]
    for numbers in product(*ranges):
        joined = zip(plain[1:], numbers, strict=True)
        yield plain[0] + "".join(number + rest for rest, number in joined)


def _numbers(words: str) -> Iterator[str]:
    """`1-3,07` -> 1 2 3 07; leading zeros are kept. Raises ValueError for anything else."""
    for word in words.split(","):
        first, dash, last = word.partition("-")
        low, high = int(first), int(last if dash else first)
        if high - low > MOST:
            raise ValueError(f"{word} is longer than {MOST} names")
        for number in range(low, high + 1):
            yield str(number).zfill(len(first))
