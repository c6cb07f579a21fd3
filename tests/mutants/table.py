"""Deliberate faults in money, each with the test that has to see it.

A row changes one place of the source, as text: one that no longer matches fails loudly.
"""

from __future__ import annotations

from dataclasses import dataclass

ACTIONS = "tests/billing/actions"


@dataclass(frozen=True, slots=True)
class Mutant:
    """`old` becomes `new` in `path`; `test` must turn red."""

    name: str
    path: str
    old: str
    new: str
    test: str


MUTANTS = (
    # The pause makes sure of the race that without the lock is a matter of luck.
    Mutant(
        "holds are taken without the lock",
        "billing/actions/holds.py",
        "    lock_known(account)\n    available = funds_of(account).available_micros\n",
        "    available = funds_of(account).available_micros\n"
        "    __import__('time').sleep(0.5)\n    _ = lock_known\n",
        f"{ACTIONS}/test_holds.py::test_two_holds_at_once_cannot_overspend",
    ),
    Mutant(
        "automatic top-up decides without the lock",
        "billing/actions/auto_top_up.py",
        "    account = lock_account(account_id)\n    now",
        "    account = BillingAccount.objects.get(pk=account_id)\n    now",
        f"{ACTIONS}/test_auto_top_up.py::test_sixteen_at_once_charge_once",
    ),
    Mutant(
        "a schedule is launched without its lock",
        "clusters/control/schedules.py",
        'Schedule.objects.select_for_update(skip_locked=True, no_key=True, of=("self",))',
        "Schedule.objects.all()",
        "tests/clusters/test_schedule_races.py"
        "::test_many_workers_at_the_same_instant_launch_it_once",
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
        "a formula gets into the CSV",
        "billing/documents/focus.py",
        "[safe_cell(cell) for cell in _cells(invoice, line)]",
        "_cells(invoice, line)",
        "tests/billing/documents/test_focus.py::test_formula_in_a_name_is_text",
    ),
)
