"""Models of accounts."""

from accounts.models.api_key import ApiKey
from accounts.models.audit import AuditEvent
from accounts.models.idempotency import IdempotencyRecord
from accounts.models.team import Membership, Team
from accounts.models.user import User

__all__ = ["ApiKey", "AuditEvent", "IdempotencyRecord", "Membership", "Team", "User"]
