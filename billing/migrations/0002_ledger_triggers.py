"""What the ledger promises, held by the database itself."""

from __future__ import annotations

from django.db import migrations

APPEND_ONLY = (
    "billing_journalentry",
    "billing_posting",
    "billing_lotconsumption",
    "billing_ratedusage",
)

# Deferred: an entry is written before its postings, so it is judged when the transaction commits.
BALANCED = """
CREATE FUNCTION billing_check_entry(the_entry bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    legs bigint;
    off text;
BEGIN
    SELECT count(*) INTO legs FROM billing_posting WHERE entry_id = the_entry;
    IF legs < 2 THEN
        RAISE EXCEPTION 'journal entry % has % postings, it needs two or more', the_entry, legs
            USING ERRCODE = 'check_violation', CONSTRAINT = 'entry_balanced';
    END IF;
    SELECT string_agg(format('%s %s', total, currency), ', ') INTO off FROM (
        SELECT currency, sum(amount_micros) AS total
        FROM billing_posting WHERE entry_id = the_entry
        GROUP BY currency HAVING sum(amount_micros) <> 0
    ) AS sums;
    IF off IS NOT NULL THEN
        RAISE EXCEPTION 'journal entry % is off balance by %', the_entry, off
            USING ERRCODE = 'check_violation', CONSTRAINT = 'entry_balanced';
    END IF;
    IF EXISTS (
        SELECT 1 FROM billing_posting p JOIN billing_ledgeraccount a ON a.id = p.account_id
        WHERE p.entry_id = the_entry AND a.currency <> p.currency
    ) THEN
        RAISE EXCEPTION 'journal entry % posts to an account of another currency', the_entry
            USING ERRCODE = 'check_violation', CONSTRAINT = 'entry_currency';
    END IF;
END $$;

CREATE FUNCTION billing_entry_written() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM billing_check_entry(NEW.id);
    RETURN NULL;
END $$;

CREATE FUNCTION billing_posting_written() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM billing_check_entry(NEW.entry_id);
    RETURN NULL;
END $$;

CREATE CONSTRAINT TRIGGER entry_balanced AFTER INSERT ON billing_journalentry
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION billing_entry_written();

CREATE CONSTRAINT TRIGGER entry_balanced AFTER INSERT ON billing_posting
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION billing_posting_written();
"""

NOT_BALANCED = """
DROP TRIGGER entry_balanced ON billing_posting;
DROP TRIGGER entry_balanced ON billing_journalentry;
DROP FUNCTION billing_posting_written();
DROP FUNCTION billing_entry_written();
DROP FUNCTION billing_check_entry(bigint);
"""

REFUSE = """
CREATE FUNCTION billing_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % is refused', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'restrict_violation', CONSTRAINT = 'append_only';
END $$;
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
    dependencies = [("billing", "0001_initial")]

    operations = [
        migrations.RunSQL(BALANCED, NOT_BALANCED),
        migrations.RunSQL(REFUSE, "DROP FUNCTION billing_append_only();"),
        *(migrations.RunSQL(_keep(table), _free(table)) for table in APPEND_ONLY),
    ]
