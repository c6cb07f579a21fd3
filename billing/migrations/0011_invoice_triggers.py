"""What a document says is kept by the database: I12 and I13."""

from __future__ import annotations

from django.db import migrations

APPEND_ONLY = (
    "billing_invoiceline",
    "billing_invoicetax",
    "billing_creditnote",
    "billing_creditnoteline",
    "billing_documentfile",
)

# A draft may be anything; the step that gives it a number is where the sums are judged, once for
# all invoices of a statement. Planned each time, because the lines may have come since the last.
INVOICE = """
CREATE FUNCTION billing_invoice_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.status <> 'draft' THEN
            RAISE EXCEPTION 'an invoice begins as a draft'
                USING ERRCODE = 'restrict_violation', CONSTRAINT = 'invoice_kept';
        END IF;
        RETURN NEW;
    END IF;
    IF TG_OP = 'DELETE' THEN
        IF OLD.status = 'draft' THEN RETURN OLD; END IF;
        RAISE EXCEPTION 'invoice % is final: it stays', OLD.reference
            USING ERRCODE = 'restrict_violation', CONSTRAINT = 'invoice_kept';
    END IF;
    IF OLD.status <> 'draft' AND (
        to_jsonb(NEW) - 'status' - 'paid_at' IS DISTINCT FROM to_jsonb(OLD) - 'status' - 'paid_at'
        OR NEW.status = 'draft' OR (OLD.status = 'paid' AND NEW IS DISTINCT FROM OLD)
    ) THEN
        RAISE EXCEPTION 'invoice % is final: what it says stays', OLD.reference
            USING ERRCODE = 'restrict_violation', CONSTRAINT = 'invoice_kept';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER invoice_kept BEFORE INSERT OR UPDATE OR DELETE ON billing_invoice
    FOR EACH ROW EXECUTE FUNCTION billing_invoice_kept();

CREATE FUNCTION billing_invoice_adds_up() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    off text;
BEGIN
    EXECUTE $q$
        WITH sealed AS (
            SELECT n.* FROM fresh n JOIN before o USING (id)
            WHERE o.status = 'draft' AND n.status <> 'draft'
        ), line AS (
            SELECT invoice_id, sum(amount_micros) AS total FROM billing_invoiceline
            WHERE invoice_id = ANY(ARRAY(SELECT id FROM sealed)) GROUP BY 1
        ), tax AS (
            SELECT invoice_id, sum(base_micros) AS bases, sum(tax_micros) AS total
            FROM billing_invoicetax
            WHERE invoice_id = ANY(ARRAY(SELECT id FROM sealed)) GROUP BY 1
        )
        SELECT format('invoice %s: lines %s and tax bases %s of net %s, taxes %s of %s',
            s.reference, coalesce(line.total, 0), coalesce(tax.bases, 0), s.net_micros,
            coalesce(tax.total, 0), s.tax_micros)
        FROM sealed s LEFT JOIN line ON line.invoice_id = s.id LEFT JOIN tax ON tax.invoice_id = s.id
        WHERE coalesce(line.total, 0) <> s.net_micros OR coalesce(tax.bases, 0) <> s.net_micros
            OR coalesce(tax.total, 0) <> s.tax_micros OR s.net_micros % 10000 <> 0
        LIMIT 1
    $q$ INTO off;
    IF off IS NOT NULL THEN
        RAISE EXCEPTION '%', off
            USING ERRCODE = 'check_violation', CONSTRAINT = 'invoice_adds_up';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER invoice_adds_up AFTER UPDATE ON billing_invoice
    REFERENCING NEW TABLE AS fresh OLD TABLE AS before
    FOR EACH STATEMENT EXECUTE FUNCTION billing_invoice_adds_up();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON billing_invoice
    FOR EACH STATEMENT EXECUTE FUNCTION billing_append_only();
"""

NO_INVOICE = """
DROP TRIGGER append_only_truncate ON billing_invoice;
DROP TRIGGER invoice_adds_up ON billing_invoice;
DROP FUNCTION billing_invoice_adds_up();
DROP TRIGGER invoice_kept ON billing_invoice;
DROP FUNCTION billing_invoice_kept();
"""

# Judged once a statement: a month close writes a million lines in a few of them.
PARTS = """
CREATE FUNCTION billing_part_of_draft() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT 1 FROM (SELECT DISTINCT invoice_id FROM fresh) AS touched
        JOIN billing_invoice i ON i.id = touched.invoice_id WHERE i.status <> 'draft'
    ) THEN
        RAISE EXCEPTION 'a final invoice takes no more rows of %', TG_TABLE_NAME
            USING ERRCODE = 'restrict_violation', CONSTRAINT = 'invoice_kept';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER part_of_draft AFTER INSERT ON billing_invoiceline
    REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION billing_part_of_draft();
CREATE TRIGGER part_of_draft AFTER INSERT ON billing_invoicetax
    REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION billing_part_of_draft();
ALTER TABLE billing_invoicetax ADD CONSTRAINT tax_of_base CHECK (
    base_micros % 10000 = 0
    AND tax_micros = round(base_micros::numeric * rate_ppm / 10000000000) * 10000
);
"""

NO_PARTS = """
ALTER TABLE billing_invoicetax DROP CONSTRAINT tax_of_base;
DROP TRIGGER part_of_draft ON billing_invoicetax;
DROP TRIGGER part_of_draft ON billing_invoiceline;
DROP FUNCTION billing_part_of_draft();
"""

# The invoice is locked first, so that two notes at once cannot each stay within it alone.
NOTES = """
CREATE FUNCTION billing_note_written() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    the_status text;
BEGIN
    SELECT status INTO the_status FROM billing_invoice WHERE id = NEW.invoice_id
        FOR NO KEY UPDATE;
    IF the_status = 'draft' THEN
        RAISE EXCEPTION 'a draft needs no credit note'
            USING ERRCODE = 'restrict_violation', CONSTRAINT = 'note_of_final';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER note_written BEFORE INSERT ON billing_creditnote
    FOR EACH ROW EXECUTE FUNCTION billing_note_written();

CREATE FUNCTION billing_check_note() RETURNS trigger LANGUAGE plpgsql AS $$
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
        WHERE i.id = the_invoice GROUP BY i.id
        HAVING sum(n.net_micros) > i.net_micros OR sum(n.tax_micros) > i.tax_micros
    ) THEN
        off := 'more is taken back than the invoice has';
    ELSIF EXISTS (
        SELECT 1 FROM billing_creditnoteline c JOIN billing_invoiceline l
            ON l.id = c.invoice_line_id
        WHERE l.id IN (SELECT invoice_line_id FROM billing_creditnoteline
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
CREATE CONSTRAINT TRIGGER note_within_invoice AFTER INSERT ON billing_creditnote
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION billing_check_note();
CREATE CONSTRAINT TRIGGER note_within_invoice AFTER INSERT ON billing_creditnoteline
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION billing_check_note();
"""

NO_NOTES = """
DROP TRIGGER note_within_invoice ON billing_creditnoteline;
DROP TRIGGER note_within_invoice ON billing_creditnote;
DROP FUNCTION billing_check_note();
DROP TRIGGER note_written ON billing_creditnote;
DROP FUNCTION billing_note_written();
"""

SERIES = """
CREATE FUNCTION billing_series_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.prefix = OLD.prefix AND NEW.next_number > OLD.next_number THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'a series only counts on'
        USING ERRCODE = 'restrict_violation', CONSTRAINT = 'series_kept';
END $$;
CREATE TRIGGER series_kept BEFORE UPDATE OR DELETE ON billing_invoiceseries
    FOR EACH ROW EXECUTE FUNCTION billing_series_kept();
"""

NO_SERIES = """
DROP TRIGGER series_kept ON billing_invoiceseries;
DROP FUNCTION billing_series_kept();
"""


def _keep(table: str) -> str:
    return f"""
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON {table}
    FOR EACH ROW EXECUTE FUNCTION billing_append_only();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION billing_append_only();
"""


def _free(table: str) -> str:
    return f"""
DROP TRIGGER append_only ON {table};
DROP TRIGGER append_only_truncate ON {table};
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0010_invoices")]

    operations = [
        migrations.RunSQL(INVOICE, NO_INVOICE),
        migrations.RunSQL(PARTS, NO_PARTS),
        migrations.RunSQL(NOTES, NO_NOTES),
        migrations.RunSQL(SERIES, NO_SERIES),
        *(migrations.RunSQL(_keep(table), _free(table)) for table in APPEND_ONLY),
    ]
