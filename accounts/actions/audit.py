"""The audit trail."""

from __future__ import annotations

from typing import Any

from accounts.actor import Actor
from accounts.models import AuditEvent, Team


def record(
    actor: Actor, verb: str, *, team: Team | None, object_id: str = "", **detail: Any
) -> AuditEvent:
    """Append that `actor` did `verb`; runs in the caller's transaction."""
    return AuditEvent.objects.create(
        actor_kind=actor.kind,
        user=actor.user,
        api_key=actor.api_key,
        team=team,
        verb=verb,
        object_id=object_id,
        reason=actor.reason,
        detail=detail,
    )
