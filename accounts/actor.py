"""Who acts: one value that every action takes."""

from __future__ import annotations

from dataclasses import dataclass

from accounts.choices import ActorKind, Role
from accounts.models import ApiKey, Team, User


@dataclass(frozen=True, slots=True)
class Actor:
    """A person in a team, an API key, FastGPU itself, or staff acting for a team with a reason.

    `team` is the one team whose objects the actor may reach; the system and staff may have none.
    """

    kind: ActorKind
    user: User | None = None
    team: Team | None = None
    role: Role | None = None
    api_key: ApiKey | None = None
    reason: str = ""

    @classmethod
    def system(cls, reason: str = "") -> Actor:
        """FastGPU's own control loop."""
        return cls(kind=ActorKind.SYSTEM, reason=reason)

    @classmethod
    def staff(cls, user: User, *, team: Team | None, reason: str) -> Actor:
        """A member of staff acting for `team`; `reason` goes into the audit trail."""
        return cls(kind=ActorKind.STAFF, user=user, team=team, role=Role.OWNER, reason=reason)
