"""A credit note whose refund came back takes back nothing any more."""

from __future__ import annotations

from django.db import migrations

# As in 0011, without the notes that are void; and where what was given makes the tax of an invoice
# negative, a note takes back no tax.
NOTES = """
CREATE OR REPLACE FUNCTION billing_check_note() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    the_note bigint;
    the_invoice bigint;
    off text;
BEGIN
    IF TG_TABLE_NAME = 'billing_creditnote' THEN
        the_note := NEW.id;
    ELSE
        the_note := NEW.credit_note_id;
    END IF;
    SELECT invoice_id INTO the_invoice FROM billing_creditnote WHERE id = the_note;
    IF (SELECT net_micros FROM billing_creditnote WHERE id = the_note) <>
        (SELECT coalesce(sum(amount_micros), 0) FROM billing_creditnoteline
            WHERE credit_note_id = the_note)
    THEN
        off := 'its lines are not its net amount';
    ELSIF EXISTS (
        SELECT 1 FROM billing_creditnote n JOIN billing_invoice i ON i.id = n.invoice_id
        LEFT JOIN billing_refund r ON r.id = n.refund_id
        WHERE i.id = the_invoice AND r.status IS DISTINCT FROM 'failed' GROUP BY i.id
        HAVING sum(n.net_micros) > i.net_micros OR sum(n.tax_micros) > greatest(0, i.tax_micros)
    ) THEN
        off := 'more is taken back than the invoice has';
    ELSIF EXISTS (
        SELECT 1 FROM billing_creditnoteline c
        JOIN billing_invoiceline l ON l.id = c.invoice_line_id
        JOIN billing_creditnote n ON n.id = c.credit_note_id
        LEFT JOIN billing_refund r ON r.id = n.refund_id
        WHERE r.status IS DISTINCT FROM 'failed'
            AND l.id IN (SELECT invoice_line_id FROM billing_creditnoteline
                WHERE credit_note_id = the_note)
        GROUP BY l.id
        HAVING l.invoice_id <> the_invoice OR sum(c.amount_micros) * sign(l.amount_micros) < 0
            OR abs(sum(c.amount_micros)) > abs(l.amount_micros)
    ) THEN
        off := 'more of a line is taken back than the line has';
    END IF;
    IF off IS NOT NULL THEN
        RAISE EXCEPTION 'credit note %: %', the_note, off
            USING ERRCODE = 'check_violation', CONSTRAINT = 'note_within_invoice';
    END IF;
    RETURN NULL;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0017_reversals")]

    operations = [
        # What the narrower rule would refuse may be there by then: the wider one stays.
        migrations.RunSQL(NOTES, migrations.RunSQL.noop),
    ]
