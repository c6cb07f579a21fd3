"""Automatic top-up stops itself where charging again would only annoy."""

from __future__ import annotations

from billing.choices import PauseReason, PaymentPurpose, PaymentStatus
from billing.models import AutoTopUp, BillingAccount, Payment
from portal.lib import clock

_PAUSES = {
    PaymentStatus.FAILED: PauseReason.DECLINED,
    PaymentStatus.REQUIRES_ACTION: PauseReason.AUTHENTICATION,
}


def pause_after(account: BillingAccount, payment: Payment) -> None:
    """Pause after an automatic payment that failed or needs its owner; go on after one they made.

    The caller has locked the account.
    """
    status = PaymentStatus(payment.status)
    if payment.purpose == PaymentPurpose.AUTO_TOP_UP and status in _PAUSES:
        pause(account, _PAUSES[status])
    elif payment.purpose == PaymentPurpose.AUTO_TOP_UP and status == PaymentStatus.SUCCEEDED:
        resume(account, PauseReason.AUTHENTICATION)


def pause(account: BillingAccount, reason: PauseReason) -> None:
    """Stop charging until the owner has seen to `reason`; an earlier pause stays as it is."""
    AutoTopUp.objects.filter(account=account, pause_reason="").update(
        pause_reason=reason, paused_at=clock.now()
    )


def resume(account: BillingAccount, *reasons: PauseReason) -> None:
    """Go on where it was paused for one of `reasons`."""
    AutoTopUp.objects.filter(account=account, pause_reason__in=reasons).update(
        pause_reason="", paused_at=None
    )
