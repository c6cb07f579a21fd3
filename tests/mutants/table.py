"""Deliberate faults in money, each with the test that has to see it.

A row changes places of the source, as text: one that no longer matches fails loudly. It may also
take guards off the database: constraints, indexes and triggers.
"""

from __future__ import annotations

from tests.mutants.mutant import ACTIONS, CONCURRENCY, MACHINE, Edit, Mutant

# What a tick that rounds its own piece would say a run has come to.
_PIECE = (
    "c.unit_micros::numeric * c.quantity * round(1000000 * extract(epoch FROM c.till"
    " - c.rated_until)) / (c.unit_hours::numeric * %(hour_us)s)"
)
_OWED = "SELECT c.*, {owed} AS owed FROM candidate c"


# Makes sure of the race that without the lock is a matter of luck.
_MEET = "__import__('tests.concurrency.race', fromlist=['meet']).meet()"


EDITED = (
    Mutant(
        "holds are taken without the lock",
        "billing/actions/holds.py",
        "    lock_known(account)\n    available = funds_of(account).available_micros\n",
        f"    available = funds_of(account).available_micros\n    {_MEET}\n    _ = lock_known\n",
        f"{ACTIONS}/test_holds.py::test_two_holds_at_once_cannot_overspend",
    ),
    Mutant(
        "automatic top-up decides without the lock",
        "billing/actions/auto_top_up.py",
        "    account = lock_account(account_id)\n    now",
        "    account = BillingAccount.objects.get(pk=account_id)\n    now",
        f"{ACTIONS}/test_auto_top_up.py::test_sixteen_at_once_charge_once",
        more=(
            Edit(
                "billing/actions/auto_top_up.py",
                "    payment = new_payment(\n        account,\n        purpose=PaymentPurpose.AUTO",
                f"    {_MEET}\n    payment = new_payment(\n        account,\n"
                "        purpose=PaymentPurpose.AUTO",
            ),
        ),
    ),
    Mutant(
        "a schedule is launched without its lock",
        "clusters/control/schedules.py",
        'Schedule.objects.select_for_update(skip_locked=True, no_key=True, of=("self",))',
        "Schedule.objects.all()",
        "tests/clusters/test_schedule_races.py"
        "::test_many_workers_at_the_same_instant_launch_it_once",
        more=(
            Edit(
                "clusters/control/schedules.py",
                "    due_at = schedule.next_at\n    _move_on",
                f"    {_MEET}\n    due_at = schedule.next_at\n    _move_on",
            ),
        ),
    ),
    Mutant(
        "what is held may be spent",
        "billing/queries/funds.py",
        "return self.spendable_micros - self.held_micros",
        "return self.spendable_micros",
        f"{ACTIONS}/test_holds.py::test_hold_lowers_what_is_available",
    ),
    Mutant(
        "a tick takes a micro-unit more than it is owed",
        "billing/actions/rating.py",
        "%(hour_us)s\n)::bigint",
        "%(hour_us)s\n)::bigint + 1",
        f"{ACTIONS}/test_metering.py::test_any_sequence_of_ticks_bills_the_same",
    ),
    Mutant(
        "each tick rounds its own piece up",
        "billing/actions/rating.py",
        _OWED,
        f"SELECT c.*, c.billed_micros + ceil({_PIECE})::bigint AS owed FROM candidate c",
        f"{ACTIONS}/test_metering.py::test_any_sequence_of_ticks_bills_the_same",
    ),
    Mutant(
        "each tick rounds its own piece to the nearest",
        "billing/actions/rating.py",
        _OWED,
        f"SELECT c.*, c.billed_micros + round({_PIECE})::bigint AS owed FROM candidate c",
        f"{ACTIONS}/test_metering.py::test_any_sequence_of_ticks_bills_the_same",
    ),
    Mutant(
        "time after the last proof of life is billed",
        "billing/actions/rating.py",
        "least(i.ended_at, i.billable_until, %(until)s) AS till",
        "least(i.ended_at, %(until)s) AS till",
        f"{ACTIONS}/test_proof.py::test_a_tick_stops_at_the_last_proof_and_the_grace",
    ),
    Mutant(
        "months are those of another time zone",
        "billing/actions/rating.py",
        "date_trunc('month', low AT TIME ZONE 'UTC')",
        "date_trunc('month', low AT TIME ZONE 'UTC') + interval '9 hours'",
        f"{ACTIONS}/test_metering.py::test_slices_are_cut_at_the_month",
    ),
    Mutant(
        "bought credit is used before what was given",
        "billing/actions/lots.py",
        "LotKind.PROMOTIONAL: 0, LotKind.GOODWILL: 1, LotKind.PURCHASED: 2",
        "LotKind.PROMOTIONAL: 2, LotKind.GOODWILL: 1, LotKind.PURCHASED: 0",
        f"{ACTIONS}/test_lots.py::test_usage_takes_promotional_credit_before_bought",
    ),
    Mutant(
        "expired credit is used",
        "billing/actions/lots.py",
        "in_order(lot for lot in lots if lot.expires_at is None or lot.expires_at > at)",
        "in_order(lots)",
        f"{ACTIONS}/test_lots.py::test_expired_credit_is_not_used",
    ),
    Mutant(
        "a payment is credited whenever it is heard of",
        "billing/actions/payments.py",
        "    if MOVES.may(PaymentStatus(payment.status), target):\n",
        "    if target:\n",
        f"{ACTIONS}/test_topups.py::test_settling_again_changes_nothing",
    ),
    Mutant(
        "credit is keyed on the webhook's event, not on the payment at Stripe",
        "billing/actions/payments.py",
        'idempotency_key=f"top_up:{facts.intent_id}",',
        'idempotency_key=f"top_up:{EVENT[0]}",',
        "tests/billing/gateways/test_webhooks.py::test_two_events_of_one_payment_credit_once",
        more=(
            Edit("billing/actions/payments.py", "_KIND = {", "EVENT = ['']\n_KIND = {"),
            Edit(
                "billing/actions/payments.py",
                "    if MOVES.may(PaymentStatus(payment.status), target):\n",
                "    from billing.models import JournalEntry\n"
                "    key = f'top_up:{EVENT[0]}'\n"
                "    if not JournalEntry.objects.filter(idempotency_key=key).exists():\n",
            ),
            Edit(
                "billing/actions/webhooks.py",
                "    handler = HANDLERS.get(event.type)\n",
                "    handler = HANDLERS.get(event.type)\n"
                "    __import__('billing.actions.payments').actions.payments.EVENT[0] = event.pk\n",
            ),
        ),
    ),
    Mutant(
        "the amount that was paid is not looked at",
        "billing/actions/payments.py",
        "    _check(payment, facts)\n",
        "",
        f"{ACTIONS}/test_topups.py::test_session_of_another_amount_is_refused",
    ),
    Mutant(
        "a webhook may be of any time",
        "billing/gateways/webhooks.py",
        "verify_header(text, signature, secret, TOLERANCE_S)",
        "verify_header(text, signature, secret, None)",
        "tests/billing/gateways/test_webhooks.py::test_signature_of_another_time_is_refused",
    ),
    Mutant(
        "a webhook's signature is not checked",
        "billing/gateways/webhooks.py",
        "        stripe.WebhookSignature.verify_header(text, signature, secret, TOLERANCE_S)\n",
        "",
        "tests/billing/gateways/test_webhooks.py::test_forged_signature_is_refused",
    ),
    Mutant(
        "more is refunded than is unused",
        "billing/actions/refunds.py",
        "if not 0 < asked <= left:",
        "if not 0 < asked:",
        f"{ACTIONS}/test_refunds.py::test_amount_above_what_is_left_is_refused",
    ),
    Mutant(
        "credit that was given back is refunded once more",
        "billing/queries/refunds.py",
        "min(unused, free, payment.net_micros - gone)",
        "min(unused, free)",
        f"{ACTIONS}/test_refunds.py"
        "::test_credit_that_comes_back_after_all_was_refunded_does_not_go_back_to_the_card",
    ),
    Mutant(
        "the tax of each refund is rounded by itself",
        "billing/actions/refund_tax.py",
        "    tax = from_cents(to_cents(owed - before.tax))\n"
        "    return min(max(tax, total_micros - net_left, 0), tax_left, total_micros)\n",
        "    _ = net_left, tax_left, owed\n"
        "    return from_cents(to_cents("
        "payment.tax_micros * total_micros // payment.amount_micros))\n",
        f"{ACTIONS}/test_refunds.py"
        "::test_refunds_of_taxed_credit_made_at_stripe_cent_by_cent_leave_no_debt",
    ),
    Mutant(
        "a refund that failed does not say what it undoes",
        "billing/actions/refunds.py",
        '        reverses="ask",\n',
        "",
        f"{ACTIONS}/test_reversals.py::test_refund_that_failed_reverses_its_asking",
    ),
    Mutant(
        "credit is taxed where its use is taxed too",
        "billing/queries/tax.py",
        "if settings.TAX_POINT == TaxPoint.USAGE:",
        "if not settings.TAX_POINT:",
        "tests/billing/queries/test_tax.py"
        "::test_credit_is_taxed_when_it_is_bought_or_when_it_is_used",
    ),
    Mutant(
        "a webhook nobody thought of holds up the others",
        "billing/actions/webhooks.py",
        "    except Exception as unexpected:\n",
        "    except PortalError as unexpected:\n",
        "tests/billing/gateways/test_webhooks.py"
        "::test_event_that_fails_as_nobody_thought_of_holds_up_nothing",
    ),
    Mutant(
        "a dispute is opened again by every word of it",
        "billing/actions/disputes.py",
        "if facts.took_money and dispute.status == DisputeStatus.INQUIRY:",
        "if facts.took_money:",
        f"{ACTIONS}/test_disputes.py::test_news_that_comes_late_and_twice_is_applied_once",
    ),
    Mutant(
        "automatic top-up knows no hour",
        "billing/actions/auto_top_up.py",
        "        or automatic.filter(created_at__gt=now - LEAST_BETWEEN).exists()\n",
        "",
        f"{ACTIONS}/test_auto_top_up.py::test_second_within_the_hour_waits",
    ),
    Mutant(
        "automatic top-up knows no maximum",
        "billing/actions/auto_top_up.py",
        "if spent + from_cents(net_cents + tax.cents) > rule.monthly_maximum_micros:",
        "if spent < 0:",
        f"{ACTIONS}/test_auto_top_up.py::test_monthly_maximum_pauses_until_the_next_month",
    ),
    Mutant(
        "a fault of ours is not given back",
        "billing/actions/metering.py",
        "        if fault is not None:\n",
        "        if fault is not None and not fault:\n",
        f"{ACTIONS}/test_faults.py::test_all_of_it_comes_back_with_a_sentence",
    ),
    Mutant(
        "a number of invoices is left out",
        "billing/actions/numbering.py",
        "series.next_number += count\n",
        "series.next_number += count + 1\n",
        f"{ACTIONS}/test_month_close.py::test_months_that_were_left_are_closed_one_by_one",
    ),
    Mutant(
        "a month is closed twice",
        "billing/actions/month_close.py",
        "        if account.closed_until is None or account.closed_until < end\n",
        "",
        f"{ACTIONS}/test_month_close.py::test_closing_again_changes_nothing",
    ),
    Mutant(
        "what we gave is taxed",
        "billing/actions/month_close.py",
        "taxable = net - to_cents(sums.given_micros)",
        "taxable = net",
        f"{ACTIONS}/test_month_close.py::test_what_we_gave_is_a_discount_that_is_not_taxed",
    ),
    Mutant(
        "the next month's debt is on this invoice",
        "billing/queries/outstanding.py",
        "PARTITION BY v.account_id ORDER BY v.period_start DESC)",
        "PARTITION BY v.account_id ORDER BY v.period_start)",
        f"{ACTIONS}/test_collecting.py::test_oldest_invoice_is_paid_first",
    ),
    Mutant(
        "work without money goes on for ever",
        "billing/actions/ladder.py",
        "exhausted_at__lte=now - grace()",
        "exhausted_at__lte=now - 99 * grace()",
        "tests/clusters/control/test_funds.py"
        "::test_work_goes_on_for_the_grace_and_no_longer_than_a_tick_more",
    ),
    Mutant(
        "a budget forgets what is not posted yet",
        "billing/queries/budgets.py",
        "SELECT sum(o.unposted)",
        "SELECT 0 * sum(o.unposted)",
        "tests/clusters/control/test_funds.py::test_run_is_launched_with_a_limit_of_its_own",
    ),
    Mutant(
        "fees of Stripe are not booked",
        "billing/actions/psp_sync.py",
        "    fee = movement.fee_cents\n",
        "    fee = 0\n",
        MACHINE,
    ),
    Mutant(
        "a refund made at Stripe is owed while its credit is there",
        "billing/actions/refunds.py",
        "    shares, missing = take(lots, net)\n    entry = _post(",
        "    shares, missing = take(lots[1:], net)\n    entry = _post(",
        MACHINE,
    ),
    Mutant(
        "usage takes the newest credit first",
        "billing/actions/lots.py",
        "lot.expires_at or _NEVER, lot.pk)",
        "lot.expires_at or _NEVER, -lot.pk)",
        f"{ACTIONS}/test_lots.py::test_given_before_bought_then_soonest_then_oldest",
    ),
    Mutant(
        "a charge is looked for by our clock alone",
        "billing/gateways/intents.py",
        "(since - CLOCKS_APART)",
        "since",
        f"{ACTIONS}/test_recovery.py::test_charge_made_while_our_clock_was_ahead_is_found",
    ),
    Mutant(
        "balances are brought along without the lock",
        "billing/actions/ledger.py",
        "        LedgerAccount.objects.select_for_update(no_key=True)\n",
        "        LedgerAccount.objects.all()\n",
        f"{CONCURRENCY}::test_drained_by_many_the_ledger_stops_at_zero",
        more=(
            Edit(
                "billing/actions/ledger.py",
                "    for line, amount in moved.items():\n"
                "        accounts[line].balance_micros += amount\n",
                f"    {_MEET}\n    for line, amount in moved.items():\n"
                "        accounts[line].balance_micros += amount\n",
            ),
        ),
    ),
    Mutant(
        "the key of journal entries is not unique",
        "billing/actions/ledger.py",
        "ON CONFLICT (idempotency_key) DO NOTHING\n",
        "",
        f"{CONCURRENCY}::test_64_callers_with_one_key_make_one_entry",
        guards=("billing_journalentry.billing_journalentry_idempotency_key_key",),
    ),
    Mutant(
        "a formula gets into the CSV",
        "billing/documents/focus.py",
        "[safe_cell(cell) for cell in _cells(invoice, line)]",
        "_cells(invoice, line)",
        "tests/billing/documents/test_focus.py::test_formula_in_a_name_is_text",
    ),
)
