"""Automatic top-up stops itself where charging again would only annoy."""

from __future__ import annotations

from billing.actions.telling import tell_once
from billing.choices import PauseReason, PaymentPurpose, PaymentStatus
from billing.emails import send_auto_top_up_pause
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
        pause_reason=reason, paused_at=clock.now(), told_at=None
    )


def resume(account: BillingAccount, *reasons: PauseReason) -> None:
    """Go on where it was paused for one of `reasons`."""
    AutoTopUp.objects.filter(account=account, pause_reason__in=reasons).update(
        pause_reason="", paused_at=None
    )


def tell_pauses() -> int:
    """Mail the owners of every automatic top-up that has paused, once a pause; returns how many."""
    untold = AutoTopUp.objects.filter(is_on=True, told_at__isnull=True).exclude(pause_reason="")
    return sum(_tell(key) for key in list(untold.values_list("pk", flat=True)))


def _tell(rule_id: int) -> bool:
    row = AutoTopUp.objects.filter(pk=rule_id)

    def send() -> None:
        rule = row.select_related("account__team").get()
        if rule.pause_reason:
            send_auto_top_up_pause(rule)

    return tell_once(row.exclude(pause_reason=""), send)
