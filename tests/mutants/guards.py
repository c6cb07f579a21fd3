"""Guards of the database, each with the test that misses it."""

from __future__ import annotations

from tests.mutants.mutant import ACTIONS, CONCURRENCY, Mutant


def unguarded(name: str, *guards: str, test: str) -> Mutant:
    """The database does without what holds it."""
    return Mutant(name, "", "", "", test, guards)


UNGUARDED = (
    unguarded(
        "one payment at Stripe may be two of ours",
        "billing_payment.billing_payment_payment_intent_id_key",
        test=f"{ACTIONS}/test_topups.py::test_the_database_holds_one_payment_for_one_at_stripe",
    ),
    unguarded(
        "two automatic top-ups may be in flight",
        "billing_payment.payment_one_auto_in_flight",
        test=f"{ACTIONS}/test_auto_top_up.py::test_the_database_holds_one_in_flight",
    ),
    unguarded(
        "credit may be overspent",
        "billing_ledgeraccount.ledger_credit_floor",
        test=f"{CONCURRENCY}::test_drained_by_many_the_ledger_stops_at_zero",
    ),
    unguarded(
        "an entry need not balance",
        "billing_journalentry.entry_balanced",
        "billing_posting.entry_balanced",
        test=f"{ACTIONS}/test_ledger.py::test_unbalanced_entry_is_refused_at_commit",
    ),
    unguarded(
        "postings may be changed",
        "billing_posting.append_only",
        test=f"{ACTIONS}/test_ledger.py::test_journal_is_append_only",
    ),
    unguarded(
        "an entry may be reversed twice",
        "billing_journalentry.billing_journalentry_reverses_id_key",
        test=f"{ACTIONS}/test_reversals.py"
        "::test_second_reversal_of_an_entry_is_refused_by_the_database",
    ),
    unguarded(
        "a reversal need not mirror",
        "billing_journalentry.entry_mirrors",
        test=f"{ACTIONS}/test_reversals.py::test_reversal_that_is_no_mirror_is_refused_at_commit",
    ),
    unguarded(
        "use of one thing may overlap",
        "billing_usageinterval.interval_no_overlap",
        test=f"{ACTIONS}/test_metering.py::test_database_refuses_overlap",
    ),
    unguarded(
        "two prices may hold at once",
        "billing_price.price_no_overlap",
        test="tests/billing/queries/test_prices.py::test_two_prices_at_one_instant_are_refused",
    ),
    unguarded(
        "a final invoice may be changed",
        "billing_invoice.invoice_kept",
        test=f"{ACTIONS}/test_month_close.py::test_final_invoice_cannot_be_changed",
    ),
    unguarded(
        "more of a line is taken back than it has",
        "billing_creditnote.note_within_invoice",
        "billing_creditnoteline.note_within_invoice",
        test=f"{ACTIONS}/test_credit_notes.py::test_database_refuses_a_note_above_the_line",
    ),
)
