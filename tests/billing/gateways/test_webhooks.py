"""What Stripe sends, from its raw body to credit."""

from __future__ import annotations

import json
import time
from datetime import timedelta

import pytest
from django.test import Client

from accounts.actor import Actor
from billing.actions.topups import start_top_up
from billing.actions.webhooks import process_pending
from billing.choices import AccountCode, BreakKind, PaymentStatus, WebhookStatus
from billing.models import (
    BillingAccount,
    JournalEntry,
    LedgerAccount,
    Payment,
    ReconciliationBreak,
    WebhookEvent,
)
from billing.queries.funds import funds_of
from billing.sandbox.webhooks import signature
from portal.lib import clock
from portal.lib.money import MICROS
from tests.billing.books import assert_books
from tests.billing.conftest import Box
from tests.billing.sandbox.harness import WEBHOOK_SECRET

URL = "/webhooks/stripe/"
PAID = "checkout.session.completed"


def send(body: bytes, header: str) -> int:
    """Deliver to our endpoint; the status it answers with."""
    return (
        Client(enforce_csrf_checks=True)
        .post(URL, body, content_type="application/json", headers={"Stripe-Signature": header})
        .status_code
    )


def signed(event: object, at: float | None = None) -> tuple[bytes, str]:
    """`event` as Stripe would send it."""
    body = json.dumps(event).encode()
    return body, signature(WEBHOOK_SECRET, int(time.time() if at is None else at), body)


def event(kind: str = PAID, event_id: str = "evt_1", **session: object) -> dict[str, object]:
    return {"id": event_id, "type": kind, "data": {"object": session}}


def test_paid_checkout_is_credited(account: BillingAccount, actor: Actor, box: Box) -> None:
    box.pay(start_top_up(actor, amount_cents=25_00))
    assert send(*box.delivery(PAID)) == 200
    process_pending()
    assert Payment.objects.get().status == PaymentStatus.SUCCEEDED
    assert funds_of(account).balance_micros == 75 * MICROS


def test_duplicates_credit_once(account: BillingAccount, actor: Actor, box: Box) -> None:
    box.pay(start_top_up(actor, amount_cents=25_00))
    body, header = box.delivery(PAID)
    for _ in range(3):
        assert send(body, header) == 200
        process_pending()
    assert WebhookEvent.objects.get().status == WebhookStatus.PROCESSED
    assert JournalEntry.objects.filter(kind="top_up").count() == 1
    assert funds_of(account).balance_micros == 75 * MICROS


def test_two_events_of_one_payment_credit_once(
    account: BillingAccount, actor: Actor, box: Box
) -> None:
    box.pay(start_top_up(actor, amount_cents=25_00))
    for kind in (PAID, "payment_intent.succeeded"):
        assert send(*box.delivery(kind)) == 200
        process_pending()
    statuses = set(WebhookEvent.objects.values_list("status", flat=True))
    assert (WebhookEvent.objects.count(), statuses) == (2, {WebhookStatus.PROCESSED})
    assert JournalEntry.objects.filter(kind="top_up").count() == 1
    assert funds_of(account).balance_micros == 75 * MICROS


def test_expired_that_comes_after_paid_changes_nothing(
    account: BillingAccount, actor: Actor, box: Box
) -> None:
    box.pay(start_top_up(actor, amount_cents=25_00))
    send(*box.delivery(PAID))
    process_pending()
    payment = Payment.objects.get()
    late = event(
        "checkout.session.expired",
        "evt_late",
        id=payment.checkout_session_id,
        client_reference_id=payment.public_id,
    )
    assert send(*signed(late)) == 200
    process_pending()
    payment.refresh_from_db()
    assert payment.status == PaymentStatus.SUCCEEDED
    assert funds_of(account).balance_micros == 75 * MICROS


def test_body_that_lies_is_not_believed(account: BillingAccount, actor: Actor, box: Box) -> None:
    start_top_up(actor, amount_cents=25_00)
    payment = Payment.objects.get()
    lie = event(
        id=payment.checkout_session_id,
        client_reference_id=payment.public_id,
        payment_status="paid",
    )
    assert send(*signed(lie)) == 200
    process_pending()
    assert funds_of(account).balance_micros == 50 * MICROS


def test_forged_signature_is_refused(db: None, box: Box) -> None:
    body, _ = signed(event())
    assert send(body, signature("whsec_other", int(time.time()), body)) == 400
    assert not WebhookEvent.objects.exists()


def test_changed_body_is_refused(db: None, box: Box) -> None:
    body, header = signed(event())
    assert send(body + b" ", header) == 400


@pytest.mark.parametrize("off", [-301, 400])
def test_signature_of_another_time_is_refused(db: None, box: Box, off: int) -> None:
    assert send(*signed(event(), at=time.time() + off)) == 400
    assert not WebhookEvent.objects.exists()


@pytest.mark.parametrize("header", ["", "nonsense", "t=1", "t=x,v1=y", "v1=" + "0" * 64])
def test_missing_signature_is_refused(db: None, box: Box, header: str) -> None:
    assert send(signed(event())[0], header) == 400


@pytest.mark.parametrize(
    "body", [[], "text", {}, {"id": 5, "type": "x"}, {"id": "evt_1", "type": "\0"}]
)
def test_signed_nonsense_is_refused(db: None, box: Box, body: object) -> None:
    assert send(*signed(body)) == 400


def test_body_that_is_no_text_is_refused(db: None, box: Box) -> None:
    body = b"\xff\xfe"
    assert send(body, signature(WEBHOOK_SECRET, int(time.time()), body)) == 400


def test_get_is_refused(db: None) -> None:
    assert Client().get(URL).status_code == 405


def test_event_of_another_kind_is_ignored(db: None, box: Box) -> None:
    assert send(*signed(event("customer.created"))) == 200
    process_pending()
    assert WebhookEvent.objects.get().status == WebhookStatus.IGNORED


def test_checkout_that_is_not_ours_is_ignored(db: None, box: Box) -> None:
    send(*signed(event(id=box.server.session().id, client_reference_id="another product")))
    process_pending()
    assert WebhookEvent.objects.get().status == WebhookStatus.IGNORED


def test_payment_that_names_us_and_is_unknown_is_told_again_and_shown(db: None, box: Box) -> None:
    lost = event(object="checkout.session", id="cs_x", client_reference_id="pay_unknown")
    assert send(*signed(lost)) == 503
    assert WebhookEvent.objects.get().status == WebhookStatus.RECEIVED
    found = ReconciliationBreak.objects.get(kind=BreakKind.UNKNOWN_OBJECT)
    assert found.subject == "pay_unknown"


@pytest.mark.parametrize(
    ("deed", "kinds"),
    [
        ("refund", {"refund.created"}),
        ("dispute", {"charge.dispute.created", "charge.dispute.funds_withdrawn"}),
    ],
)
def test_what_happens_at_stripe_reaches_the_ledger_by_webhook_in_any_order(
    account: BillingAccount, actor: Actor, box: Box, deed: str, kinds: set[str]
) -> None:
    number = "4000 0000 0000 0259" if deed == "dispute" else "4242 4242 4242 4242"
    box.pay(start_top_up(actor, amount_cents=25_00), number=number)
    send(*box.delivery(PAID))
    process_pending()
    intent = Payment.objects.get().payment_intent_id or ""
    if deed == "refund":
        box.server.client.v1.refunds.create({"payment_intent": intent})
    for kind in sorted(kinds, reverse=True):
        for _ in range(2):
            assert send(*box.delivery(kind)) == 200
        process_pending()
    assert funds_of(account).balance_micros == 50 * MICROS
    assert_books(account)


def test_checkout_that_looks_ours_and_is_unknown_fails_loudly(db: None, box: Box) -> None:
    session = box.server.session(client_reference_id="pay_unknown")
    send(*signed(event(id=session.id, client_reference_id="pay_unknown")))
    process_pending()
    found = WebhookEvent.objects.get()
    assert found.status == WebhookStatus.FAILED
    assert "pay_unknown" in found.error


def test_body_of_another_shape_fails_and_holds_up_nothing(db: None, box: Box) -> None:
    send(*signed({"id": "evt_1", "type": PAID, "data": 5}))
    send(*signed({"id": "evt_2", "type": "customer.created"}))
    process_pending()
    found = dict(WebhookEvent.objects.values_list("stripe_event_id", "status"))
    assert found == {"evt_1": WebhookStatus.FAILED, "evt_2": WebhookStatus.IGNORED}


def test_event_that_fails_as_nobody_thought_of_holds_up_nothing(
    account: BillingAccount, actor: Actor, box: Box
) -> None:
    box.pay(start_top_up(actor, amount_cents=25_00))
    send(*box.delivery(PAID))
    process_pending()
    intent = Payment.objects.get().payment_intent_id or ""
    box.server.client.v1.refunds.create({"payment_intent": intent})
    send(*box.delivery("refund.created"))
    LedgerAccount.objects.filter(code=AccountCode.CUSTOMER_CREDIT).update(balance_micros=0)
    send(*signed(event("customer.created", "evt_next")))
    process_pending()
    found = dict(WebhookEvent.objects.values_list("type", "status"))
    assert found["refund.created"] == WebhookStatus.FAILED
    assert found["customer.created"] == WebhookStatus.IGNORED
    assert "ledger_credit_floor" in WebhookEvent.objects.get(type="refund.created").error


def test_failed_event_is_tried_again_when_due(
    account: BillingAccount, actor: Actor, box: Box, settings: object
) -> None:
    box.pay(start_top_up(actor, amount_cents=25_00))
    send(*box.delivery(PAID))
    box.server.kill()
    process_pending()
    assert WebhookEvent.objects.get().status == WebhookStatus.FAILED
    assert process_pending() == 0
    box.server.start()
    with clock.use(lambda: later):
        later = WebhookEvent.objects.get().received_at + timedelta(minutes=5)
        assert process_pending() == 1
    assert funds_of(account).balance_micros == 75 * MICROS
