"""The record of what was done to keep to a limit."""

from __future__ import annotations

from billing.choices import Enforcement
from billing.models import BillingAccount, Budget, EnforcementAction


def record_enforcement(
    account: BillingAccount,
    kind: Enforcement,
    *,
    subject: str,
    limit_micros: int,
    spent_micros: int,
    budget: Budget | None = None,
) -> None:
    """Append that `subject`, a run, was stopped, with the figures it was decided by."""
    EnforcementAction.objects.create(
        account=account,
        kind=kind,
        budget=budget,
        subject=subject,
        limit_micros=limit_micros,
        spent_micros=spent_micros,
    )
