"""Names of nodes in Slurm's short form."""

from __future__ import annotations

import pytest

from clusters.backends.slurm.hostlist import expand


@pytest.mark.parametrize(
    ("short", "names"),
    [
        ("", []),
        ("gpu1", ["gpu1"]),
        ("gpu1,login", ["gpu1", "login"]),
        ("gpu[1-3]", ["gpu1", "gpu2", "gpu3"]),
        ("gpu[08-10,12]", ["gpu08", "gpu09", "gpu10", "gpu12"]),
        ("r[1-2]n[1-2],x", ["r1n1", "r1n2", "r2n1", "r2n2", "x"]),
        ("a[1-2]-ib", ["a1-ib", "a2-ib"]),
    ],
)
def test_it_is_written_out(short: str, names: list[str]) -> None:
    assert expand(short) == names


@pytest.mark.parametrize("broken", ["gpu[1-", "gpu[x-y]", "gpu[1-999999999]", "gpu]["])
def test_what_cannot_be_read_does_no_harm(broken: str) -> None:
    assert len(expand(broken)) <= 2
