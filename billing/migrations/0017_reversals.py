"""A reversal mirrors what it reverses: I20."""

from __future__ import annotations

from django.db import migrations, models

KINDS = [
    ("top_up", "Top-up"),
    ("grant", "Credit granted"),
    ("usage", "Usage"),
    ("fee", "Payment fee"),
    ("reversal", "Reversal"),
    ("service_credit", "Credit for a fault of ours"),
    ("credit_note", "Credit note"),
    ("expiry", "Credit expired"),
    ("tax", "Tax on usage"),
    ("invoice_payment", "Invoice paid"),
    ("refund", "Refund asked for"),
    ("refund_paid", "Refund paid out"),
    ("refund_returned", "Refund sent back by the bank"),
    ("refund_failed", "Refund failed"),
    ("dispute", "Payment disputed"),
    ("dispute_won", "Dispute won"),
    ("dispute_lost", "Dispute lost"),
    ("payout", "Payout to the bank"),
    ("payout_failed", "Payout sent back by the bank"),
    ("write_off", "Debt written off"),
    ("rounding", "Rounding"),
]

# What a team has is its credit less its debt: money that comes back pays debt first, so that the
# three lines are judged together and every other line by itself.
MIRRORED = """
CREATE FUNCTION billing_check_mirror() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    off text;
BEGIN
    SELECT string_agg(format('%s %s %s', total, currency, line), ', ') INTO off FROM (
        SELECT p.currency, sum(p.amount_micros) AS total, a.account_id, CASE
            WHEN a.code IN ('customer_credit', 'promo_credit', 'accounts_receivable') THEN 'team'
            ELSE a.code END AS line
        FROM billing_posting p JOIN billing_ledgeraccount a ON a.id = p.account_id
        WHERE p.entry_id IN (NEW.id, NEW.reverses_id)
        GROUP BY p.currency, a.account_id, line HAVING sum(p.amount_micros) <> 0
    ) AS sums;
    IF off IS NOT NULL THEN
        RAISE EXCEPTION 'journal entry % does not mirror %: off by %', NEW.id, NEW.reverses_id, off
            USING ERRCODE = 'check_violation', CONSTRAINT = 'entry_mirrors';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER entry_mirrors AFTER INSERT ON billing_journalentry
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.reverses_id IS NOT NULL)
    EXECUTE FUNCTION billing_check_mirror();
"""

NOT_MIRRORED = """
DROP TRIGGER entry_mirrors ON billing_journalentry;
DROP FUNCTION billing_check_mirror();
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0016_pause_told")]

    operations = [
        migrations.AlterField(
            model_name="journalentry",
            name="kind",
            field=models.CharField(choices=KINDS, max_length=20),
        ),
        migrations.RunSQL(MIRRORED, NOT_MIRRORED),
    ]
