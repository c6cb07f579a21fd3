"""Reconciliation mends what can be mended and shows staff the rest."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection

from accounts.actor import Actor
from accounts.models import User
from billing.actions.breaks import explain_break
from billing.actions.payments import settle_session
from billing.actions.reconcile import reconcile
from billing.actions.refunds import refund_payment
from billing.actions.topups import start_top_up
from billing.choices import AccountCode, BreakKind, PaymentStatus, RefundStatus, WebhookStatus
from billing.models import (
    BillingAccount,
    CreditLot,
    LedgerAccount,
    Payment,
    PspTransaction,
    ReconciliationBreak,
    ReconciliationRun,
    WebhookEvent,
)
from billing.queries.funds import funds_of
from portal.lib import clock
from portal.lib.errors import NotAllowed
from portal.lib.money import MICROS
from tests.billing.books import assert_books
from tests.billing.conftest import Box
from tests.ports import free_port


@pytest.fixture
def fresh(box_process: Box, settings: Any, tmp_path: Path) -> Iterator[Box]:
    """A sandbox nobody has used: its balance is this test's alone."""
    from tests.billing.sandbox.harness import Server

    server = Server(tmp_path / "stripe", box_process.receiver.url)
    settings.STRIPE_API_BASE = server.url
    settings.STRIPE_SECRET_KEY = "sk_test_suite"
    yield Box(server, box_process.receiver)
    server.stop()


def open_breaks() -> set[str]:
    return set(
        ReconciliationBreak.objects.filter(resolved_at__isnull=True).values_list("kind", flat=True)
    )


def pay(actor: Actor, box: Box, *, settle: bool = True, number: str = "4242424242424242") -> None:
    box.pay(start_top_up(actor, amount_cents=25_00), number=number)
    if settle:
        settle_session(Payment.objects.latest("pk").checkout_session_id or "")


def test_books_that_agree_open_no_break(account: BillingAccount, actor: Actor, fresh: Box) -> None:
    pay(actor, fresh)
    run = reconcile()
    assert run.error == ""
    assert open_breaks() == set()


def test_fees_and_payouts_reach_the_ledger_once(
    account: BillingAccount, actor: Actor, fresh: Box
) -> None:
    pay(actor, fresh)
    reconcile()
    reconcile()
    fees = LedgerAccount.objects.get(code=AccountCode.PSP_FEES).balance_micros
    assert fees == 1_030_000  # 2.9 % of $25.00, rounded, and 30 cents
    clearing = LedgerAccount.objects.get(code=AccountCode.PSP_CLEARING).balance_micros
    assert clearing == 25 * MICROS - fees
    assert PspTransaction.objects.count() == 1
    assert_books(account)


def test_payment_nobody_told_us_of_is_credited(
    account: BillingAccount, actor: Actor, fresh: Box
) -> None:
    pay(actor, fresh, settle=False)
    reconcile()
    assert Payment.objects.get().status == PaymentStatus.SUCCEEDED
    assert funds_of(account).balance_micros == 75 * MICROS
    assert open_breaks() == set()


def test_refund_and_dispute_nobody_told_us_of_are_taken_over(
    account: BillingAccount, actor: Actor, fresh: Box
) -> None:
    pay(actor, fresh)
    first = Payment.objects.get().payment_intent_id or ""
    fresh.server.client.v1.refunds.create({"payment_intent": first, "amount": 5_00})
    pay(actor, fresh, number="4000000000000259")
    reconcile()
    assert funds_of(account).balance_micros == 70 * MICROS
    assert open_breaks() == set()
    assert_books(account)


def test_refund_on_its_way_is_no_difference(
    account: BillingAccount, actor: Actor, fresh: Box
) -> None:
    pay(actor, fresh, number="4000000000007726")
    assert refund_payment(actor, Payment.objects.get()).status == RefundStatus.PENDING
    reconcile()
    assert open_breaks() == set()
    fresh.server.advance(4000)
    reconcile()
    assert open_breaks() == set()


def test_money_at_stripe_that_is_in_no_book_of_ours_is_shown(
    account: BillingAccount, actor: Actor, fresh: Box
) -> None:
    fresh.server.client.v1.payment_intents.create(
        {"amount": 7_00, "currency": "usd", "payment_method": "pm_card_visa", "confirm": True}
    )
    reconcile()
    assert open_breaks() == {BreakKind.CLEARING}


def test_payment_of_ours_that_we_do_not_know_is_shown(
    account: BillingAccount, actor: Actor, fresh: Box
) -> None:
    fresh.server.client.v1.payment_intents.create(
        {
            "amount": 7_00,
            "currency": "usd",
            "payment_method": "pm_card_visa",
            "confirm": True,
            "metadata": {"payment": "pay_unknown"},
        }
    )
    reconcile()
    assert BreakKind.PAYMENT_MISSING in open_breaks()


def test_credit_that_was_never_paid_is_shown(
    account: BillingAccount, actor: Actor, fresh: Box
) -> None:
    pay(actor, fresh)
    Payment.objects.update(payment_intent_id="pi_invented")
    reconcile()
    assert BreakKind.PAYMENT_UNPAID in open_breaks()


@pytest.mark.parametrize(
    ("kind", "sql"),
    [
        (
            BreakKind.LEDGER_BALANCE,
            "UPDATE billing_ledgeraccount SET balance_micros = -1 WHERE code = 'promo_credit'",
        ),
        (
            BreakKind.LOTS,
            "UPDATE billing_creditlot SET remaining_micros = remaining_micros - 1",
        ),
    ],
)
def test_cached_sum_that_is_off_is_shown(
    account: BillingAccount, fresh: Box, kind: BreakKind, sql: str
) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)
    reconcile()
    assert kind in open_breaks()


def test_break_that_is_not_found_again_closes_itself(account: BillingAccount, fresh: Box) -> None:
    CreditLot.objects.update(remaining_micros=1)
    reconcile()
    assert open_breaks() == {BreakKind.LOTS}
    CreditLot.objects.update(remaining_micros=50 * MICROS)
    reconcile()
    assert open_breaks() == set()
    assert ReconciliationBreak.objects.exclude(resolution="").exists()


def test_same_break_is_one_row_however_often_it_is_found(
    account: BillingAccount, fresh: Box
) -> None:
    CreditLot.objects.update(remaining_micros=1)
    for _ in range(3):
        reconcile()
    assert ReconciliationBreak.objects.filter(subject__startswith="account").count() == 1


def test_silent_stripe_closes_nothing_and_is_said(
    account: BillingAccount, fresh: Box, settings: Any
) -> None:
    CreditLot.objects.update(remaining_micros=1)
    reconcile()
    settings.STRIPE_API_BASE = f"http://127.0.0.1:{free_port()}"
    run = reconcile()
    assert "does not answer" in run.error
    assert open_breaks() == {BreakKind.LOTS}


def test_event_that_was_never_delivered_is_worked_off(
    account: BillingAccount, actor: Actor, fresh: Box
) -> None:
    fresh.receiver.statuses.extend([500] * 100)
    pay(actor, fresh, settle=False)
    reconcile()
    fresh.receiver.statuses.clear()
    found = WebhookEvent.objects.filter(type="checkout.session.completed")
    assert [event.status for event in found] == [WebhookStatus.PROCESSED]


def test_webhook_that_keeps_failing_is_shown(account: BillingAccount, fresh: Box) -> None:
    WebhookEvent.objects.create(
        stripe_event_id="evt_old",
        type="checkout.session.completed",
        body="{}",
        status=WebhookStatus.FAILED,
        received_at=clock.now() - timedelta(hours=1),
    )
    reconcile()
    assert BreakKind.STUCK_WEBHOOK in open_breaks()


def test_command_says_whether_books_agree(account: BillingAccount, fresh: Box, capsys: Any) -> None:
    call_command("reconcile")
    assert "All books agree" in capsys.readouterr().out
    CreditLot.objects.update(remaining_micros=1)
    with pytest.raises(CommandError):
        call_command("reconcile")
    assert ReconciliationRun.objects.count() == 2


def test_only_staff_may_explain_a_break_away(
    actor: Actor, account: BillingAccount, dora: User, fresh: Box
) -> None:
    CreditLot.objects.update(remaining_micros=1)
    reconcile()
    found = ReconciliationBreak.objects.first()
    assert found is not None
    with pytest.raises(NotAllowed):
        explain_break(actor, found.pk, why="I say so")
    explain_break(Actor.staff(dora, team=None, reason="x"), found.pk, why="Moved by hand.")
    found.refresh_from_db()
    assert found.resolution == "Moved by hand."
