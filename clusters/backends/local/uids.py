"""Who attempts run as where the portal is root: one uid a team, and others for what stands by.

Servers that stand by (standbys.py) have uids of their own, from `uid_base + FIRST_SLOT`. No team
is ever given one of them.
"""

from __future__ import annotations

FIRST_SLOT = 50_000
SLOTS = 1_000


def team_uid(uid_base: int, team_number: int) -> int:
    """The team's uid; also its gid."""
    return uid_base + team_number + (SLOTS if team_number >= FIRST_SLOT else 0)


def slot_uids(uid_base: int) -> range:
    """Uids for what stands by."""
    return range(uid_base + FIRST_SLOT, uid_base + FIRST_SLOT + SLOTS)
